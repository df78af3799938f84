// The faults of faulty_fs.c, and when they strike. They stand in a control file
// (`name=number name=number …`), which is looked at before every request, so
// that what a test has written there holds from its next call on:
//
//   close=E   what was written is lost, and close and fsync say E
//   empty=1   regular files say that their size is 0, whatever they hold
//   short=1   regular files end after half of the bytes that they say they have
//   links=N   EMLINK from N links on
//   over=E    a rename onto a name that is there says E; flags are not known
//   nth=N     the Nth request says EIO
//   eio=N     N of 1,000 requests say EIO, as seed=S has it
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
  int control, log;
  char text[256];
  long close, empty, shorter, links, over, nth, eio;
  uint64_t seed, requests;
} faults;

static long value(const char *name) {
  const char *at = strstr(faults.text, name);
  return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

/** Reads the control file; what is new begins with the next request. */
static void read_faults(void) {
  char text[sizeof faults.text] = {0};
  if (pread(faults.control, text, sizeof text - 1, 0) < 0) abort();
  if (strcmp(text, faults.text) == 0) return;
  memcpy(faults.text, text, sizeof text);
  dprintf(faults.log, "requests %llu\n", (unsigned long long)faults.requests);
  faults.close = value("close=");
  faults.empty = value("empty=");
  faults.shorter = value("short=");
  faults.links = value("links=");
  faults.over = value("over=");
  faults.nth = value("nth=");
  faults.eio = value("eio=");
  faults.seed = (uint64_t)value("seed=");
  faults.requests = 0;
}

/** Notes a fault, so that a test can tell that it has happened. */
static int strike(const char *request, int error) {
  dprintf(faults.log, "%s %d\n", request, error);
  return error;
}

/** splitmix64: the same seed and request number, the same number. */
static uint64_t number_of(uint64_t at) {
  uint64_t z = faults.seed * 0x9e3779b97f4a7c15u + at * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/** Whether this request fails out of the blue: EIO, or 0. */
static int struck(const char *request) {
  read_faults();
  faults.requests++;
  if (faults.nth > 0 ? faults.requests == (uint64_t)faults.nth
                     : number_of(faults.requests) % 1000 < (uint64_t)faults.eio)
    return strike(request, EIO);
  return 0;
}
