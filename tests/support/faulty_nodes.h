// The nodes of faulty_fs.c: every inode that the kernel knows is held open, once,
// whatever its names.
#pragma once
#include <dirent.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include "faulty_faults.h"

struct node {
  struct node *next;
  int fd; // O_PATH
  ino_t ino;
  dev_t dev;
  uint64_t lookups;
};

enum { BUCKETS = 4096 };
static struct node *nodes[BUCKETS];
static struct node root;

static struct node *node_of(fuse_ino_t ino) {
  return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}
static int fd_of(fuse_ino_t ino) { return node_of(ino)->fd; }
/** The path by which a node can be opened, changed and linked. */
static const char *proc_path(fuse_ino_t ino) {
  static char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd_of(ino));
  return path;
}

static int look(int fd, struct stat *st) {
  if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) return -1;
  if (faults.empty && S_ISREG(st->st_mode)) {
    if (st->st_size > 0) strike("size", 0);
    st->st_size = st->st_blocks = 0;
  }
  return 0;
}

/** Answers with the node of a name. */
static int find(fuse_ino_t parent, const char *name,
                struct fuse_entry_param *entry) {
  memset(entry, 0, sizeof *entry);
  int fd = openat(fd_of(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  if (look(fd, &entry->attr) < 0) {
    int error = errno;
    close(fd);
    return error;
  }
  struct node **list = &nodes[entry->attr.st_ino % BUCKETS];
  struct node *node = *list;
  while (node && (node->ino != entry->attr.st_ino ||
                  node->dev != entry->attr.st_dev))
    node = node->next;
  if (node) {
    close(fd);
  } else {
    node = calloc(1, sizeof *node);
    *node = (struct node){*list, fd, entry->attr.st_ino, entry->attr.st_dev, 0};
    *list = node;
  }
  node->lookups++;
  entry->ino = (uintptr_t)node;
  // Names are known until they are removed: the kernel hides an error of a lookup
  // that only asks again, so that a fault there would be none.
  entry->entry_timeout = 86400;
  return 0;
}

/** The kernel has forgotten a node so many times as it has looked it up. */
static void forget(fuse_ino_t ino, uint64_t count) {
  struct node *node = node_of(ino);
  node->lookups -= count;
  if (node == &root || node->lookups > 0) return;
  struct node **at = &nodes[node->ino % BUCKETS];
  while (*at != node) at = &(*at)->next;
  *at = node->next;
  close(node->fd);
  free(node);
}
