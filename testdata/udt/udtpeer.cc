// udtpeer is the other end of the interoperation tests: libudt 4.11 as it is.
//
//	udtpeer serve  PORT MSS          accepts one connection and echoes its bytes
//	udtpeer echo   ADDRESS PORT MSS  connects, sends standard input, prints what comes back
//	udtpeer meet   LOCAL ADDRESS PORT MSS  as echo, by rendezvous from a local port
//	udtpeer messages PORT            accepts one connection and echoes its messages
//
// serve and messages print the port they have once they listen; PORT 0 takes a
// free one. Exit code 0 means that nothing failed.
//
// Build: g++ -O2 -o udtpeer udtpeer.cc -ludt -lpthread

#include <string>
#include <thread>
#include <vector>

#include "ends.h"

namespace {

// serve echoes until the client closes.
int serve(int port, int mss, int type) {
  UDTSOCKET l = open(type, mss);
  listenAt(l, at("127.0.0.1", port), 10);
  sayPort(l);
  UDTSOCKET s = acceptOne(l);
  std::vector<char> buffer(2 << 20);
  int size = static_cast<int>(buffer.size());
  if (type == SOCK_DGRAM) {
    for (int n; (n = UDT::recvmsg(s, buffer.data(), size)) > 0;)
      if (UDT::sendmsg(s, buffer.data(), n, -1, true) == UDT::ERROR) fail("sending a message");
  } else {
    for (int n; (n = UDT::recv(s, buffer.data(), size, 0)) > 0;) sendAll(s, buffer.data(), n);
  }
  UDT::close(s);
  UDT::close(l);
  return 0;
}

// echo sends standard input and prints as many bytes as it has sent.
int echo(UDTSOCKET s, const sockaddr_in& to) {
  connectTo(s, to);
  std::vector<char> all;
  char piece[65536];
  for (size_t n; (n = std::fread(piece, 1, sizeof piece, stdin)) > 0;) all.insert(all.end(), piece, piece + n);
  std::thread sender([&] { sendAll(s, all.data(), static_cast<int>(all.size())); });
  for (size_t got = 0; got < all.size();) {
    int n = UDT::recv(s, piece, sizeof piece, 0);
    if (n == UDT::ERROR) fail("receiving");
    std::fwrite(piece, 1, static_cast<size_t>(n), stdout);
    got += static_cast<size_t>(n);
  }
  std::fflush(stdout);
  sender.join();
  UDT::close(s);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string what = argc > 1 ? argv[1] : "";
  auto number = [&](int i) { return std::atoi(argv[i]); };
  UDT::startup();
  int code = 2;
  if (what == "serve" && argc == 4) {
    code = serve(number(2), number(3), SOCK_STREAM);
  } else if (what == "messages" && argc == 3) {
    code = serve(number(2), 1500, SOCK_DGRAM);
  } else if (what == "echo" && argc == 5) {
    code = echo(open(SOCK_STREAM, number(4)), at(argv[2], number(3)));
  } else if (what == "meet" && argc == 6) {
    UDTSOCKET s = open(SOCK_STREAM, number(5));
    bool yes = true;
    UDT::setsockopt(s, 0, UDT_RENDEZVOUS, &yes, sizeof yes);
    bindTo(s, at("127.0.0.1", number(2)));
    code = echo(s, at(argv[3], number(4)));
  }
  UDT::cleanup();
  return code;
}
