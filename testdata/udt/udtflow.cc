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

#include <time.h>

#include <cstring>
#include <vector>

#include "ends.h"

namespace {

const int kChunk = 1 << 20;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void receive(int port, int64_t window) {
  UDTSOCKET server = openWindow(window);
  listenAt(server, at("0.0.0.0", port), 1);
  std::printf("ready\n");
  std::fflush(stdout);
  UDTSOCKET s = acceptOne(server);
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
  UDTSOCKET s = openWindow(window);
  connectTo(s, at(address, port));
  std::vector<char> buffer(kChunk, 'u');
  for (;;) sendAll(s, buffer.data(), kChunk);
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
