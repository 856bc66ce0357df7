// udtbench moves one file with libudt, so that its own throughput can be measured:
//
//	udtbench receive PORT FILE STREAMS WINDOW
//	udtbench send ADDRESS PORT FILE STREAMS WINDOW
//
// The file goes in STREAMS equal parts, each over a connection of its own. WINDOW
// is the number of bytes that may be under way on each; 0 leaves libudt's defaults.
// Each connection begins with the part's offset and length and the length of the
// file, 8 bytes each, big endian. The receiver answers with one byte when it has
// the part; the sender ends after that, so that its time is that of the whole
// transfer. Exit code 0 means that all parts have arrived.
//
// Build: g++ -O2 -o udtbench udtbench.cc -ludt -lpthread

#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "ends.h"

namespace {

// One connection's share of the file, in bytes.
struct Part {
  int64_t offset, length, total;
};

void put(unsigned char* at, int64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8) at[i] = static_cast<unsigned char>(value);
}

int64_t get(const unsigned char* at) {
  int64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | at[i];
  return value;
}

void sendPart(const sockaddr_in& to, const char* path, Part part, int64_t window) {
  UDTSOCKET s = openWindow(window);
  connectTo(s, to);
  unsigned char head[24];
  put(head, part.offset);
  put(head + 8, part.length);
  put(head + 16, part.total);
  sendAll(s, reinterpret_cast<char*>(head), sizeof head);
  std::fstream file(path, std::ios::in | std::ios::binary);
  int64_t offset = part.offset;
  if (part.length > 0 && UDT::sendfile(s, file, offset, part.length) != part.length) fail("sending the file");
  char done;
  receiveAll(s, &done, 1);
  UDT::close(s);
}

void receivePart(UDTSOCKET s, const char* path) {
  unsigned char head[24];
  receiveAll(s, reinterpret_cast<char*>(head), sizeof head);
  Part part{get(head), get(head + 8), get(head + 16)};
  if (part.offset < 0 || part.length < 0 || part.offset > part.total - part.length) fail("reading a part's place");
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  int64_t offset = part.offset;
  if (part.length > 0 && UDT::recvfile(s, file, offset, part.length) != part.length) fail("receiving the file");
  file.close();
  if (!file) fail("writing the file");
  char done = 1;
  sendAll(s, &done, 1);
  char end;  // the sender closes when it has the answer
  UDT::recv(s, &end, 1, 0);
  UDT::close(s);
}

void receive(int port, const char* path, int streams, int64_t window) {
  std::ofstream(path, std::ios::trunc | std::ios::binary).close();
  UDTSOCKET server = openWindow(window);
  listenAt(server, at("0.0.0.0", port), streams);
  std::vector<std::thread> threads;
  for (int i = 0; i < streams; i++) threads.emplace_back(receivePart, acceptOne(server), path);
  for (auto& t : threads) t.join();
  UDT::close(server);
}

void send(const char* address, int port, const char* path, int streams, int64_t window) {
  sockaddr_in to = at(address, port);
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) fail("opening the file");
  int64_t total = static_cast<int64_t>(file.tellg());
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < streams; i++) {
    int64_t from = total * i / streams, until = total * (i + 1) / streams;
    threads.emplace_back(sendPart, to, path, Part{from, until - from, total}, window);
  }
  for (auto& t : threads) t.join();
}

}  // namespace

int main(int argc, char** argv) {
  UDT::startup();
  if (argc == 6 && std::strcmp(argv[1], "receive") == 0) {
    receive(std::atoi(argv[2]), argv[3], std::atoi(argv[4]), std::atoll(argv[5]));
  } else if (argc == 7 && std::strcmp(argv[1], "send") == 0) {
    send(argv[2], std::atoi(argv[3]), argv[4], std::atoi(argv[5]), std::atoll(argv[6]));
  } else {
    std::fprintf(stderr, "usage: udtbench receive PORT FILE STREAMS WINDOW\n       udtbench send ADDRESS PORT FILE STREAMS WINDOW\n");
    return 2;
  }
  UDT::cleanup();
  return 0;
}
