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

#include <arpa/inet.h>
#include <udt/udt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

// One connection's share of the file, in bytes.
struct Part {
  int64_t offset, length, total;
};

[[noreturn]] void fail(const std::string& doing) {
  std::fprintf(stderr, "udtbench: %s: %s\n", doing.c_str(), UDT::getlasterror().getErrorMessage());
  std::_Exit(1);
}

void put(unsigned char* at, int64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8) at[i] = static_cast<unsigned char>(value);
}

int64_t get(const unsigned char* at) {
  int64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | at[i];
  return value;
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

void sendAll(UDTSOCKET s, const char* data, int length) {
  for (int done = 0; done < length;) {
    int n = UDT::send(s, data + done, length - done, 0);
    if (n == UDT::ERROR) fail("sending");
    done += n;
  }
}

void receiveAll(UDTSOCKET s, char* data, int length) {
  for (int done = 0; done < length;) {
    int n = UDT::recv(s, data + done, length - done, 0);
    if (n == UDT::ERROR) fail("receiving");
    done += n;
  }
}

void sendPart(sockaddr_in to, const char* path, Part part, int64_t window) {
  UDTSOCKET s = open(window);
  if (UDT::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == UDT::ERROR) fail("connecting");
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
  UDTSOCKET server = open(window);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(port));
  at.sin_addr.s_addr = INADDR_ANY;
  if (UDT::bind(server, reinterpret_cast<sockaddr*>(&at), sizeof at) == UDT::ERROR) fail("binding");
  if (UDT::listen(server, streams) == UDT::ERROR) fail("listening");
  std::vector<std::thread> threads;
  for (int i = 0; i < streams; i++) {
    sockaddr_in peer;
    int length = sizeof peer;
    UDTSOCKET s = UDT::accept(server, reinterpret_cast<sockaddr*>(&peer), &length);
    if (s == UDT::INVALID_SOCK) fail("accepting");
    threads.emplace_back(receivePart, s, path);
  }
  for (auto& t : threads) t.join();
  UDT::close(server);
}

void send(const char* address, int port, const char* path, int streams, int64_t window) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) fail("reading the address");
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
