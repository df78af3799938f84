/*
 * exchanger: the attacker of the race tests. As an ordinary user it watches
 * directories by inotify, and at the right instant exchanges a directory with a
 * symbolic link that leads to a victim (renameat2, RENAME_EXCHANGE).
 *
 *   exchanger UID GID VICTIM MATCH EVENTS SKIP BACK TIMES LITTER ABOVE DIR...
 *
 *   VICTIM  where the symbolic links lead to
 *   MATCH   names of directories that are exchanged, as of fnmatch(3)
 *   EVENTS  what it acts on: c a name is made, m a name is moved in, o a directory
 *           is opened, d something is deleted or moved away, a modes or owners change
 *   SKIP    how many such events it lets pass first
 *   BACK    after so many microseconds it exchanges back; 0: never
 *   TIMES   how many times it does so
 *   LITTER  how many files it puts into the directory first, so that a removal
 *           meets a directory that is not empty
 *   ABOVE   1: the directory around it is exchanged, with a link to a directory where
 *           the same name is a link to the victim; 0: it is exchanged itself
 *   DIR     what is watched, with all directories below, also those to come
 *
 * An event exchanges the directory that it names, if that matches, or else the
 * nearest one around it that does, or else the one that matched last. Says "ready", and when standard input ends,
 * "exchanged N".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 65536
#define LURE ".lure"
#define TRAP ".trap"

/* What is watched, by watch descriptor. The name is looked up upward, so that a
 * directory that was renamed is still found. */
static struct node {
  int parent; /* 0: a root, whose name is a path */
  char *name;
} nodes[MOST];

static int notifier, skip, back, times, litter, above;
static const char *victim, *match;
static uint32_t interesting;
static unsigned exchanged;
/* The directory that matched last. */
static int last_in;
static char last[NAME_MAX + 1];

static void die(const char *what) {
  perror(what);
  exit(2);
}

static int path_of(int wd, const char *name, char *path, size_t size) {
  char above[PATH_MAX];
  if (wd <= 0 || wd >= MOST || !nodes[wd].name) return -1;
  if (!nodes[wd].parent) snprintf(above, sizeof above, "%s", nodes[wd].name);
  else if (path_of(nodes[wd].parent, nodes[wd].name, above, sizeof above))
    return -1;
  int length = name ? snprintf(path, size, "%s/%s", above, name)
                    : snprintf(path, size, "%s", above);
  return length < (int)size ? 0 : -1;
}

/* Lists before it watches, so that its own opening is no event. */
static void watch(int parent, const char *name) {
  char path[PATH_MAX];
  char *below[4096];
  int many = 0;
  if (parent && path_of(parent, name, path, sizeof path)) return;
  if (!parent) snprintf(path, sizeof path, "%s", name);
  DIR *dir = opendir(path);
  if (dir) {
    for (struct dirent *it; many < 4096 && (it = readdir(dir));)
      if (it->d_type == DT_DIR && strcmp(it->d_name, ".") &&
          strcmp(it->d_name, ".."))
        below[many++] = strdup(it->d_name);
    closedir(dir);
  }
  int wd = inotify_add_watch(notifier, path,
                             IN_CREATE | IN_MOVED_TO | interesting |
                                 IN_ONLYDIR | IN_DONT_FOLLOW);
  if (wd > 0 && wd < MOST) {
    int known = nodes[wd].name != NULL;
    if (!known || nodes[wd].parent) {
      free(nodes[wd].name);
      nodes[wd] = (struct node){parent, strdup(name)};
    }
    for (int i = 0; !known && i < many; i++) watch(wd, below[i]);
  }
  while (many) free(below[--many]);
}

/* Makes a directory in which `name` is a link to the victim, and a link to it. */
static int trap(int wd, const char *name, const char *lure) {
  char path[PATH_MAX];
  if (path_of(wd, TRAP, path, sizeof path)) return -1;
  if (!mkdir(path, 0775) && symlink(TRAP, lure)) return -1;
  size_t length = strlen(path);
  snprintf(path + length, sizeof path - length, "/%s", name);
  return symlink(victim, path) && errno != EEXIST ? -1 : 0;
}

/* Exchanges the directory `name` in `wd` with a link, and back if so wished. */
static void exchange(int wd, const char *name) {
  static unsigned littered;
  char target[PATH_MAX], lure[PATH_MAX], file[PATH_MAX];
  if (path_of(wd, name, target, sizeof target)) return;
  if (path_of(wd, LURE, lure, sizeof lure)) return;
  for (int i = 0; i < litter; i++) {
    if (snprintf(file, sizeof file, "%s/litter-%u", target, littered++) >=
        (int)sizeof file)
      return;
    int made = open(file, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0644);
    if (made >= 0) close(made);
  }
  if (above) {
    const char *lost = name;
    name = nodes[wd].name, wd = nodes[wd].parent;
    if (path_of(wd, name, target, sizeof target)) return;
    if (path_of(wd, LURE, lure, sizeof lure)) return;
    if (trap(wd, lost, lure)) return;
  }
  for (int tries = 0; renameat2(AT_FDCWD, target, AT_FDCWD, lure,
                                RENAME_EXCHANGE);
       tries++) {
    /* The target may be gone: then there is nothing to exchange. */
    if (errno != ENOENT || tries || above || symlink(victim, lure)) return;
  }
  exchanged++;
  times--;
  if (!back) return;
  usleep(back);
  renameat2(AT_FDCWD, target, AT_FDCWD, lure, RENAME_EXCHANGE);
}

static int matches(int wd, const char *name) {
  if (fnmatch(match, name, 0)) return 0;
  last_in = wd;
  snprintf(last, sizeof last, "%s", name);
  return 1;
}

/* The nearest directory that matches: the one that is named, or one around it. */
static void act(int wd, const struct inotify_event *event) {
  const char *name = event->len ? event->name : NULL;
  int named = name && (event->mask & IN_ISDIR) &&
              !(event->mask & (IN_DELETE | IN_MOVED_FROM));
  if (!named || !matches(wd, name))
    while (nodes[wd].parent && !matches(nodes[wd].parent, nodes[wd].name))
      wd = nodes[wd].parent;
  if (last_in && skip-- <= 0) exchange(last_in, last);
}

static void hear(const struct inotify_event *event) {
  const char *name = event->len ? event->name : NULL;
  if (event->mask & (IN_IGNORED | IN_Q_OVERFLOW)) return;
  /* What it does itself. */
  if (name && (!strcmp(name, LURE) || !strcmp(name, TRAP) ||
               !strncmp(name, "litter-", 7))) return;
  int comes = event->mask & (IN_CREATE | IN_MOVED_TO) &&
              event->mask & IN_ISDIR;
  /* First the exchange, since each microsecond counts. */
  if (times > 0 && (event->mask & interesting)) act(event->wd, event);
  if (!comes) return;
  matches(event->wd, name);
  watch(event->wd, name);
}

static uint32_t mask_of(const char *events) {
  uint32_t mask = 0;
  for (; *events; events++) switch (*events) {
      case 'c': mask |= IN_CREATE; break;
      case 'm': mask |= IN_MOVED_TO; break;
      case 'o': mask |= IN_OPEN; break;
      case 'd': mask |= IN_DELETE | IN_MOVED_FROM; break;
      case 'a': mask |= IN_ATTRIB; break;
      default: fputs("unknown event\n", stderr), exit(2);
    }
  return mask;
}

int main(int argc, char **argv) {
  static char events[1 << 16] __attribute__((aligned(8)));
  if (argc < 12) return fputs("see the top of exchanger.c\n", stderr), 2;
  gid_t gid = atoi(argv[2]);
  uid_t uid = atoi(argv[1]);
  if (setgroups(1, &gid) || setgid(gid) || setuid(uid)) die("setuid");
  victim = argv[3], match = argv[4], interesting = mask_of(argv[5]);
  skip = atoi(argv[6]), back = atoi(argv[7]), times = atoi(argv[8]);
  litter = atoi(argv[9]), above = atoi(argv[10]);
  umask(002);
  notifier = inotify_init1(IN_NONBLOCK);
  if (notifier < 0) die("inotify_init1");
  for (int i = 11; i < argc; i++) watch(0, argv[i]);
  while (read(notifier, events, sizeof events) > 0) { /* its own opening */
  }
  puts("ready");
  fflush(stdout);
  struct pollfd wait[] = {{notifier, POLLIN, 0}, {0, POLLIN, 0}};
  while (poll(wait, 2, -1) >= 0 || errno == EINTR) {
    ssize_t length = read(notifier, events, sizeof events);
    for (ssize_t at = 0; at < length;) {
      struct inotify_event *event = (void *)(events + at);
      hear(event);
      at += sizeof *event + event->len;
    }
    if (length <= 0 && wait[1].revents) break;
  }
  printf("exchanged %u\n", exchanged);
  return 0;
}
