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

#include <arpa/inet.h>
#include <udt/udt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace {

[[noreturn]] void fail(const char* doing) {
  std::fprintf(stderr, "udtsample: %s: %s\n", doing, UDT::getlasterror().getErrorMessage());
  std::_Exit(1);
}

sockaddr_in at(const char* address, int port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address, &a.sin_addr) != 1) fail("reading an address");
  return a;
}

// get reads exactly n bytes.
void get(UDTSOCKET s, char* to, int n) {
  while (n > 0) {
    int got = UDT::recv(s, to, n, 0);
    if (got == UDT::ERROR) fail("receiving");
    to += got;
    n -= got;
  }
}

int send(int port) {
  UDTSOCKET l = UDT::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a = at("127.0.0.1", port);
  int length = sizeof a;
  if (UDT::bind(l, reinterpret_cast<sockaddr*>(&a), sizeof a) == UDT::ERROR) fail("binding");
  if (UDT::listen(l, 1) == UDT::ERROR) fail("listening");
  UDT::getsockname(l, reinterpret_cast<sockaddr*>(&a), &length);
  std::printf("%d\n", ntohs(a.sin_port));
  std::fflush(stdout);
  UDTSOCKET s = UDT::accept(l, reinterpret_cast<sockaddr*>(&a), &length);
  if (s == UDT::INVALID_SOCK) fail("accepting");
  UDT::close(l);
  int32_t n = 0;
  get(s, reinterpret_cast<char*>(&n), sizeof n);
  if (n < 1 || n > 1023) return 2;
  std::string name(static_cast<size_t>(n), 0);
  get(s, &name[0], n);
  std::fstream in(name.c_str(), std::ios::in | std::ios::binary);
  in.seekg(0, std::ios::end);
  int64_t size = in.tellg(), offset = 0;
  in.seekg(0, std::ios::beg);
  if (UDT::send(s, reinterpret_cast<char*>(&size), sizeof size, 0) == UDT::ERROR) fail("sending the size");
  if (size > 0 && UDT::sendfile(s, in, offset, size) == UDT::ERROR) fail("sending the file");
  UDT::close(s);
  return size < 0 ? 3 : 0;
}

int recv(const sockaddr_in& to, const std::string& name, const char* file) {
  UDTSOCKET s = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (UDT::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) == UDT::ERROR) fail("connecting");
  int32_t n = static_cast<int32_t>(name.size());
  if (UDT::send(s, reinterpret_cast<char*>(&n), sizeof n, 0) == UDT::ERROR) fail("sending a length");
  if (UDT::send(s, name.data(), n, 0) == UDT::ERROR) fail("sending a name");
  int64_t size = 0, offset = 0;
  get(s, reinterpret_cast<char*>(&size), sizeof size);
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
