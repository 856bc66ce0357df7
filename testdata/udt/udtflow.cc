// udtflow sends bytes from memory to memory with libudt, until it is killed:
//
//	udtflow receive PORT WINDOW
//	udtflow send ADDRESS PORT WINDOW
//
// WINDOW is the number of bytes that may be under way; 0 leaves libudt's defaults.
// The receiver says "ready" when it listens; then it prints, ten times a second,
// the time of the monotonic clock in seconds and the bytes that it has received.
//
// Build: g++ -O2 -o udtflow udtflow.cc -ludt -lpthread

#include <arpa/inet.h>
#include <time.h>
#include <udt/udt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

const int kChunk = 1 << 20;

[[noreturn]] void fail(const std::string& doing) {
  std::fprintf(stderr, "udtflow: %s: %s\n", doing.c_str(), UDT::getlasterror().getErrorMessage());
  std::_Exit(1);
}

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// open makes a socket whose windows are set. The flow window is counted in
// packets and bounds the receive buffer, so it comes first.
UDTSOCKET open(int64_t window) {
  UDTSOCKET s = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (s == UDT::INVALID_SOCK) fail("opening a socket");
  if (window > 0) {
    int packets = static_cast<int>(window / 1400) + 1, bytes = static_cast<int>(window);
    UDT::setsockopt(s, 0, UDT_FC, &packets, sizeof packets);
    UDT::setsockopt(s, 0, UDT_SNDBUF, &bytes, sizeof bytes);
    UDT::setsockopt(s, 0, UDT_RCVBUF, &bytes, sizeof bytes);
    UDT::setsockopt(s, 0, UDP_SNDBUF, &bytes, sizeof bytes);
    UDT::setsockopt(s, 0, UDP_RCVBUF, &bytes, sizeof bytes);
  }
  return s;
}

void receive(int port, int64_t window) {
  UDTSOCKET server = open(window);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(port));
  at.sin_addr.s_addr = INADDR_ANY;
  if (UDT::bind(server, reinterpret_cast<sockaddr*>(&at), sizeof at) == UDT::ERROR) fail("binding");
  if (UDT::listen(server, 1) == UDT::ERROR) fail("listening");
  std::printf("ready\n");
  std::fflush(stdout);
  sockaddr_in peer;
  int length = sizeof peer;
  UDTSOCKET s = UDT::accept(server, reinterpret_cast<sockaddr*>(&peer), &length);
  if (s == UDT::INVALID_SOCK) fail("accepting");
  std::vector<char> buffer(kChunk);
  int64_t total = 0;
  for (double next = 0;;) {
    int n = UDT::recv(s, buffer.data(), kChunk, 0);
    if (n == UDT::ERROR) fail("receiving");
    total += n;
    if (double t = now(); t >= next) {
      next = t + 0.1;
      std::printf("%.6f %lld\n", t, static_cast<long long>(total));
      std::fflush(stdout);
    }
  }
}

void send(const char* address, int port, int64_t window) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) fail("reading the address");
  UDTSOCKET s = open(window);
  if (UDT::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == UDT::ERROR) fail("connecting");
  std::vector<char> buffer(kChunk, 'u');
  for (;;)
    for (int done = 0; done < kChunk;) {
      int n = UDT::send(s, buffer.data() + done, kChunk - done, 0);
      if (n == UDT::ERROR) fail("sending");
      done += n;
    }
}

}  // namespace

int main(int argc, char** argv) {
  UDT::startup();
  if (argc == 4 && std::strcmp(argv[1], "receive") == 0) {
    receive(std::atoi(argv[2]), std::atoll(argv[3]));
  } else if (argc == 5 && std::strcmp(argv[1], "send") == 0) {
    send(argv[2], std::atoi(argv[3]), std::atoll(argv[4]));
  }
  std::fprintf(stderr, "usage: udtflow receive PORT WINDOW\n       udtflow send ADDRESS PORT WINDOW\n");
  return 2;
}
