// udtpeer is the other end of the interoperation tests: libudt 4.11 as it is.
//
//	udtpeer serve  PORT MSS          accepts one connection and echoes its bytes
//	udtpeer serve6 PORT MSS          as serve, at ::1
//	udtpeer echo   ADDRESS PORT MSS  connects, sends standard input, prints what comes back
//	udtpeer echo6  PORT MSS          as echo, to ::1
//	udtpeer meet   LOCAL ADDRESS PORT MSS  as echo, by rendezvous from a local port
//	udtpeer messages PORT            accepts one connection and echoes its messages
//	udtpeer many   PORT N            accepts N connections and echoes the bytes of each
//	udtpeer crowd  ADDRESS PORT N BYTES  connects N times at once and compares as many
//	                                 bytes with what comes back on each
//	udtpeer take   PORT BYTES PAUSE  accepts one connection and closes it after so many,
//	                                 with a rest of so many milliseconds in the middle
//	udtpeer pour   ADDRESS PORT      connects and sends until it cannot
//
// Those that accept print the port they have once they listen; PORT 0 takes a free
// one. Exit code 0 means that nothing failed; pour ends with 3, when it was cut off.
//
// Build: g++ -O2 -o udtpeer udtpeer.cc -ludt -lpthread

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "ends.h"

namespace {

UDTSOCKET listening(int port, int mss, int type, int backlog) {
  UDTSOCKET l = open(type, mss);
  listenAt(l, at("127.0.0.1", port), backlog);
  sayPort(l);
  return l;
}

sockaddr_in6 loopback6(int port) {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(static_cast<uint16_t>(port));
  a.sin6_addr = in6addr_loopback;
  return a;
}

UDTSOCKET open6(int mss) {
  UDTSOCKET s = UDT::socket(AF_INET6, SOCK_STREAM, 0);
  if (s == UDT::INVALID_SOCK) fail("opening a socket");
  if (UDT::setsockopt(s, 0, UDT_MSS, &mss, sizeof mss) == UDT::ERROR) fail("setting the MSS");
  return s;
}

UDTSOCKET listening6(int port, int mss) {
  UDTSOCKET l = open6(mss);
  sockaddr_in6 a = loopback6(port);
  if (UDT::bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a) == UDT::ERROR) fail("binding");
  if (UDT::listen(l, 1) == UDT::ERROR) fail("listening");
  int length = sizeof a;
  UDT::getsockname(l, reinterpret_cast<sockaddr*>(&a), &length);
  std::printf("%d\n", ntohs(a.sin6_port));
  std::fflush(stdout);
  return l;
}

UDTSOCKET connected6(int port, int mss) {
  UDTSOCKET s = open6(mss);
  sockaddr_in6 a = loopback6(port);
  if (UDT::connect(s, reinterpret_cast<sockaddr*>(&a), sizeof a) == UDT::ERROR) fail("connecting");
  return s;
}

UDTSOCKET acceptAny(UDTSOCKET listener) {
  sockaddr_in6 a{};  // has room for both families
  int length = sizeof a;
  UDTSOCKET s = UDT::accept(listener, reinterpret_cast<sockaddr*>(&a), &length);
  if (s == UDT::INVALID_SOCK) fail("accepting");
  return s;
}

// reflect sends back what comes, until the other end closes.
void reflect(UDTSOCKET s) {
  std::vector<char> buffer(256 << 10);
  for (int n; (n = UDT::recv(s, buffer.data(), static_cast<int>(buffer.size()), 0)) > 0;) sendAll(s, buffer.data(), n);
  UDT::close(s);
}

int serve(UDTSOCKET l) {
  reflect(acceptAny(l));
  UDT::close(l);
  return 0;
}

int messages(UDTSOCKET l) {
  UDTSOCKET s = acceptOne(l);
  std::vector<char> buffer(2 << 20);
  int size = static_cast<int>(buffer.size());
  for (int n; (n = UDT::recvmsg(s, buffer.data(), size)) > 0;)
    if (UDT::sendmsg(s, buffer.data(), n, -1, true) == UDT::ERROR) fail("sending a message");
  UDT::close(s);
  UDT::close(l);
  return 0;
}

int many(UDTSOCKET l, int count) {
  std::vector<std::thread> all;
  for (int i = 0; i < count; i++) all.emplace_back(reflect, acceptOne(l));
  for (auto& one : all) one.join();
  UDT::close(l);
  return 0;
}

// member is one of a crowd; its bytes tell it apart.
void member(const sockaddr_in& to, int number, int bytes) {
  UDTSOCKET s = open(SOCK_STREAM, 1500);
  connectTo(s, to);
  std::vector<char> want(static_cast<size_t>(bytes)), got(want.size());
  for (size_t i = 0; i < want.size(); i++) want[i] = static_cast<char>(i * 31 + i / 251 + static_cast<size_t>(number));
  std::thread sender([&] { sendAll(s, want.data(), bytes); });
  receiveAll(s, got.data(), bytes);
  sender.join();
  if (got != want) {
    std::fprintf(stderr, "connection %d: other bytes came back\n", number);
    std::_Exit(1);
  }
  UDT::close(s);
}

int crowd(const sockaddr_in& to, int count, int bytes) {
  std::vector<std::thread> all;
  for (int i = 0; i < count; i++) all.emplace_back(member, to, i, bytes);
  for (auto& one : all) one.join();
  return 0;
}

int take(UDTSOCKET l, int bytes, int pause) {
  UDTSOCKET s = acceptOne(l);
  std::vector<char> data(static_cast<size_t>(bytes));
  receiveAll(s, data.data(), bytes / 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(pause));
  receiveAll(s, data.data() + bytes / 2, bytes - bytes / 2);
  UDT::close(s);
  UDT::close(l);
  return 0;
}

int pour(UDTSOCKET s, const sockaddr_in& to) {
  connectTo(s, to);
  std::vector<char> data(64 << 10);
  while (UDT::send(s, data.data(), static_cast<int>(data.size()), 0) != UDT::ERROR) {
  }
  UDT::close(s);
  return 3;
}

// echo sends standard input over a connection and prints as many bytes as it has
// sent.
int echo(UDTSOCKET s) {
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
    code = serve(listening(number(2), number(3), SOCK_STREAM, 10));
  } else if (what == "serve6" && argc == 4) {
    code = serve(listening6(number(2), number(3)));
  } else if (what == "messages" && argc == 3) {
    code = messages(listening(number(2), 1500, SOCK_DGRAM, 10));
  } else if (what == "many" && argc == 4) {
    code = many(listening(number(2), 1500, SOCK_STREAM, number(3)), number(3));
  } else if (what == "take" && argc == 5) {
    code = take(listening(number(2), 1500, SOCK_STREAM, 1), number(3), number(4));
  } else if (what == "crowd" && argc == 6) {
    code = crowd(at(argv[2], number(3)), number(4), number(5));
  } else if (what == "pour" && argc == 4) {
    code = pour(open(SOCK_STREAM, 1500), at(argv[2], number(3)));
  } else if (what == "echo" && argc == 5) {
    UDTSOCKET s = open(SOCK_STREAM, number(4));
    connectTo(s, at(argv[2], number(3)));
    code = echo(s);
  } else if (what == "echo6" && argc == 4) {
    code = echo(connected6(number(2), number(3)));
  } else if (what == "meet" && argc == 6) {
    UDTSOCKET s = open(SOCK_STREAM, number(5));
    bool yes = true;
    UDT::setsockopt(s, 0, UDT_RENDEZVOUS, &yes, sizeof yes);
    bindTo(s, at("127.0.0.1", number(2)));
    connectTo(s, at(argv[3], number(4)));
    code = echo(s);
  }
  UDT::cleanup();
  return code;
}
