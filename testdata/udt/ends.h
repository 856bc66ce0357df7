// What the programs in this directory share: ends of connections of libudt 4.11 as
// it is. Whatever fails ends the program with code 1 and a line that says what.

#ifndef TESTDATA_UDT_ENDS_H
#define TESTDATA_UDT_ENDS_H

#include <arpa/inet.h>
#include <errno.h>
#include <udt/udt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

[[noreturn]] inline void fail(const char* doing) {
  std::fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, doing, UDT::getlasterror().getErrorMessage());
  std::_Exit(1);
}

inline sockaddr_in at(const char* address, int port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address, &a.sin_addr) != 1) fail("reading an address");
  return a;
}

inline UDTSOCKET open(int type, int mss) {
  UDTSOCKET s = UDT::socket(AF_INET, type, 0);
  if (s == UDT::INVALID_SOCK) fail("opening a socket");
  if (UDT::setsockopt(s, 0, UDT_MSS, &mss, sizeof mss) == UDT::ERROR) fail("setting the MSS");
  return s;
}

// openWindow makes a socket for streams in packets of 1500 bytes with so many bytes
// under way; 0 leaves libudt's defaults. The flow window is counted in packets and
// bounds the receive buffer, so it comes first.
inline UDTSOCKET openWindow(int64_t window) {
  UDTSOCKET s = open(SOCK_STREAM, 1500);
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

inline void bindTo(UDTSOCKET s, const sockaddr_in& a) {
  if (UDT::bind(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == UDT::ERROR) fail("binding");
}

inline void listenAt(UDTSOCKET s, const sockaddr_in& a, int backlog) {
  bindTo(s, a);
  if (UDT::listen(s, backlog) == UDT::ERROR) fail("listening");
}

// sayPort prints the port of a listener.
inline void sayPort(UDTSOCKET listener) {
  sockaddr_in a{};
  int length = sizeof a;
  UDT::getsockname(listener, reinterpret_cast<sockaddr*>(&a), &length);
  std::printf("%d\n", ntohs(a.sin_port));
  std::fflush(stdout);
}

inline UDTSOCKET acceptOne(UDTSOCKET listener) {
  sockaddr_in a{};
  int length = sizeof a;
  UDTSOCKET s = UDT::accept(listener, reinterpret_cast<sockaddr*>(&a), &length);
  if (s == UDT::INVALID_SOCK) fail("accepting");
  return s;
}

inline void connectTo(UDTSOCKET s, const sockaddr_in& a) {
  if (UDT::connect(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == UDT::ERROR) fail("connecting");
}

inline void sendAll(UDTSOCKET s, const char* data, int length) {
  for (int done = 0; done < length;) {
    int n = UDT::send(s, data + done, length - done, 0);
    if (n == UDT::ERROR) fail("sending");
    done += n;
  }
}

inline void receiveAll(UDTSOCKET s, char* data, int length) {
  for (int done = 0; done < length;) {
    int n = UDT::recv(s, data + done, length - done, 0);
    if (n == UDT::ERROR) fail("receiving");
    done += n;
  }
}

#endif
