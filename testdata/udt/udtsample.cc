// udtsample says what the library's sample programs sendfile and recvfile say, with
// libudt 4.11 as it is:
//
//	udtsample send PORT                     serves one client files of its directory
//	udtsample recv ADDRESS PORT NAME FILE   fetches NAME into FILE
//
// send prints the port it has once it listens; PORT 0 takes a free one. Exit code 0
// means that nothing failed, 3 that there is no such file.
//
// Build: g++ -O2 -o udtsample udtsample.cc -ludt -lpthread

#include <fstream>
#include <string>

#include "ends.h"

namespace {

int send(int port) {
  UDTSOCKET l = open(SOCK_STREAM, 1500);
  listenAt(l, at("127.0.0.1", port), 1);
  sayPort(l);
  UDTSOCKET s = acceptOne(l);
  UDT::close(l);
  int32_t n = 0;
  receiveAll(s, reinterpret_cast<char*>(&n), sizeof n);
  if (n < 1 || n > 1023) return 2;
  std::string name(static_cast<size_t>(n), 0);
  receiveAll(s, &name[0], n);
  std::fstream in(name.c_str(), std::ios::in | std::ios::binary);
  in.seekg(0, std::ios::end);
  int64_t size = in.tellg(), offset = 0;
  in.seekg(0, std::ios::beg);
  sendAll(s, reinterpret_cast<char*>(&size), sizeof size);
  if (size > 0 && UDT::sendfile(s, in, offset, size) == UDT::ERROR) fail("sending the file");
  UDT::close(s);
  return size < 0 ? 3 : 0;
}

int recv(const sockaddr_in& to, const std::string& name, const char* file) {
  UDTSOCKET s = open(SOCK_STREAM, 1500);
  connectTo(s, to);
  int32_t n = static_cast<int32_t>(name.size());
  sendAll(s, reinterpret_cast<char*>(&n), sizeof n);
  sendAll(s, name.data(), n);
  int64_t size = 0, offset = 0;
  receiveAll(s, reinterpret_cast<char*>(&size), sizeof size);
  if (size < 0) return 3;
  std::fstream out(file, std::ios::out | std::ios::binary | std::ios::trunc);
  if (size > 0 && UDT::recvfile(s, out, offset, size) == UDT::ERROR) fail("receiving the file");
  UDT::close(s);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string what = argc > 1 ? argv[1] : "";
  UDT::startup();
  int code = 2;
  if (what == "send" && argc == 3) {
    code = send(std::atoi(argv[2]));
  } else if (what == "recv" && argc == 6) {
    code = recv(at(argv[2], std::atoi(argv[3])), argv[4], argv[5]);
  }
  UDT::cleanup();
  return code;
}
