// faulty_fs BACKING MOUNTPOINT CONTROL LOG: a file system (FUSE) that shows what
// BACKING holds, with the faults of CONTROL (see faulty_faults.h), and notes each
// in LOG. By inodes that are held open, so that hard links, open files without a
// name, and locks are those of any file system. One thread, no cached content
// and attributes: the same calls meet the same faults. Says "mounted" when it is.
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35
#include <fuse_lowlevel.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include "faulty_faults.h"
#include "faulty_nodes.h"

struct handle {
  int fd;
  int wrote;
};

#define FAIL_IF_STRUCK(request)              \
  do {                                       \
    int error_ = struck(request);            \
    if (error_) {                            \
      fuse_reply_err(req, error_);           \
      return;                                \
    }                                        \
  } while (0)

static struct handle *handle_of(struct fuse_file_info *fi) {
  return (struct handle *)(uintptr_t)fi->fh;
}
static void reply(fuse_req_t req, int result) {
  fuse_reply_err(req, result < 0 ? errno : 0);
}

static void reply_entry(fuse_req_t req, fuse_ino_t parent, const char *name) {
  struct fuse_entry_param entry;
  int error = find(parent, name, &entry);
  if (error) fuse_reply_err(req, error);
  else fuse_reply_entry(req, &entry);
}

static void on_init(void *data, struct fuse_conn_info *conn) {
  (void)data;
  conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_WRITEBACK_CACHE);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
  FAIL_IF_STRUCK("lookup");
  reply_entry(req, parent, name);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
  fuse_reply_none(req);
  forget(ino, count);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi) {
  (void)fi;
  FAIL_IF_STRUCK("getattr");
  struct stat st;
  if (look(fd_of(ino), &st) < 0) fuse_reply_err(req, errno);
  else fuse_reply_attr(req, &st, 0);
}

static int change(fuse_ino_t ino, struct stat *to, int what) {
  int fd = fd_of(ino);
  struct timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  if (what & FUSE_SET_ATTR_ATIME) times[0] = to->st_atim;
  if (what & FUSE_SET_ATTR_MTIME) times[1] = to->st_mtim;
  if (what & FUSE_SET_ATTR_ATIME_NOW) times[0].tv_nsec = UTIME_NOW;
  if (what & FUSE_SET_ATTR_MTIME_NOW) times[1].tv_nsec = UTIME_NOW;
  uid_t uid = what & FUSE_SET_ATTR_UID ? to->st_uid : (uid_t)-1;
  gid_t gid = what & FUSE_SET_ATTR_GID ? to->st_gid : (gid_t)-1;
  if ((uid != (uid_t)-1 || gid != (gid_t)-1) &&
      fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
    return -1;
  if (what & FUSE_SET_ATTR_MODE && chmod(proc_path(ino), to->st_mode) < 0)
    return -1;
  if (what & FUSE_SET_ATTR_SIZE && truncate(proc_path(ino), to->st_size) < 0)
    return -1;
  if (what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
    return utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  return 0;
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to,
                       int what, struct fuse_file_info *fi) {
  (void)fi;
  FAIL_IF_STRUCK("setattr");
  struct stat st;
  if (change(ino, to, what) < 0 || look(fd_of(ino), &st) < 0)
    fuse_reply_err(req, errno);
  else fuse_reply_attr(req, &st, 0);
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino) {
  FAIL_IF_STRUCK("readlink");
  char target[4097];
  ssize_t length = readlinkat(fd_of(ino), "", target, sizeof target - 1);
  if (length < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  target[length] = 0;
  fuse_reply_readlink(req, target);
}

static void on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                     mode_t mode, dev_t device) {
  FAIL_IF_STRUCK("mknod");
  if (mknodat(fd_of(parent), name, mode, device) < 0) reply(req, -1);
  else reply_entry(req, parent, name);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                     mode_t mode) {
  FAIL_IF_STRUCK("mkdir");
  if (mkdirat(fd_of(parent), name, mode) < 0) reply(req, -1);
  else reply_entry(req, parent, name);
}

static void on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                       const char *name) {
  FAIL_IF_STRUCK("symlink");
  if (symlinkat(target, fd_of(parent), name) < 0) reply(req, -1);
  else reply_entry(req, parent, name);
}

static void on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
                    const char *name) {
  FAIL_IF_STRUCK("link");
  struct stat st;
  if (look(fd_of(ino), &st) < 0) reply(req, -1);
  else if (faults.links && st.st_nlink >= (nlink_t)faults.links)
    fuse_reply_err(req, strike("link", EMLINK));
  else if (linkat(AT_FDCWD, proc_path(ino), fd_of(parent), name,
                  AT_SYMLINK_FOLLOW) < 0)
    reply(req, -1);
  else reply_entry(req, parent, name);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
  FAIL_IF_STRUCK("unlink");
  reply(req, unlinkat(fd_of(parent), name, 0));
}

static void on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
  FAIL_IF_STRUCK("rmdir");
  reply(req, unlinkat(fd_of(parent), name, AT_REMOVEDIR));
}

static void on_rename(fuse_req_t req, fuse_ino_t from, const char *name,
                      fuse_ino_t to, const char *other, unsigned flags) {
  FAIL_IF_STRUCK("rename");
  if (faults.over) {
    if (flags) {
      fuse_reply_err(req, strike("rename flags", EINVAL));
      return;
    }
    if (faccessat(fd_of(to), other, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      fuse_reply_err(req, strike("rename over", (int)faults.over));
      return;
    }
  }
  reply(req, renameat2(fd_of(from), name, fd_of(to), other, flags));
}

static void reply_open(fuse_req_t req, int fd, struct fuse_file_info *fi,
                       struct fuse_entry_param *entry) {
  struct handle *handle = calloc(1, sizeof *handle);
  handle->fd = fd;
  fi->fh = (uintptr_t)handle;
  fi->direct_io = 1; // every read and write is a request, whatever the size says
  if (entry) fuse_reply_create(req, entry, fi);
  else fuse_reply_open(req, fi);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
  FAIL_IF_STRUCK("open");
  int flags = fi->flags & ~(O_NOFOLLOW | O_APPEND | O_CREAT | O_EXCL);
  int fd = open(proc_path(ino), flags | O_CLOEXEC);
  if (fd < 0) reply(req, -1);
  else reply_open(req, fd, fi, NULL);
}

static void on_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                      mode_t mode, struct fuse_file_info *fi) {
  FAIL_IF_STRUCK("create");
  int flags = (fi->flags | O_CREAT | O_CLOEXEC) & ~O_APPEND;
  int fd = openat(fd_of(parent), name, flags, mode);
  if (fd < 0) {
    reply(req, -1);
    return;
  }
  struct fuse_entry_param entry;
  int error = find(parent, name, &entry);
  if (error) {
    close(fd);
    fuse_reply_err(req, error);
  } else reply_open(req, fd, fi, &entry);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
                    struct fuse_file_info *fi) {
  (void)ino;
  FAIL_IF_STRUCK("read");
  struct stat st;
  int fd = handle_of(fi)->fd;
  if (faults.shorter && fstat(fd, &st) == 0) {
    off_t left = st.st_size / 2 - at;
    if (left < (off_t)size) size = left > 0 ? (size_t)left : 0;
    strike("short", 0);
  }
  char *bytes = malloc(size + 1);
  ssize_t length = pread(fd, bytes, size, at);
  if (length < 0) reply(req, -1);
  else fuse_reply_buf(req, bytes, (size_t)length);
  free(bytes);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *bytes,
                     size_t size, off_t at, struct fuse_file_info *fi) {
  (void)ino;
  FAIL_IF_STRUCK("write");
  struct handle *handle = handle_of(fi);
  handle->wrote = 1;
  ssize_t length = pwrite(handle->fd, bytes, size, at);
  if (length < 0) reply(req, -1);
  else fuse_reply_write(req, (size_t)length);
}

/** What was written got as far as a cache, and is lost now (as NFS does). */
static int settle(struct handle *handle, const char *request) {
  int error = struck(request);
  if (!error && faults.close && handle->wrote)
    error = strike(request, (int)faults.close);
  if (error && handle->wrote && ftruncate(handle->fd, 0) < 0) return errno;
  return error;
}

static void on_flush(fuse_req_t req, fuse_ino_t ino,
                     struct fuse_file_info *fi) {
  (void)ino;
  fuse_reply_err(req, settle(handle_of(fi), "close"));
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
                     struct fuse_file_info *fi) {
  (void)ino, (void)datasync;
  fuse_reply_err(req, settle(handle_of(fi), "fsync"));
}

static void on_release(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi) {
  (void)ino;
  close(handle_of(fi)->fd);
  free(handle_of(fi));
  fuse_reply_err(req, 0);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi) {
  FAIL_IF_STRUCK("opendir");
  int fd = openat(fd_of(ino), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd < 0 ? NULL : fdopendir(fd);
  if (!directory) {
    reply(req, -1);
    return;
  }
  fi->fh = (uintptr_t)directory;
  fuse_reply_open(req, fi);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
                       struct fuse_file_info *fi) {
  (void)ino;
  FAIL_IF_STRUCK("readdir");
  DIR *directory = (DIR *)(uintptr_t)fi->fh;
  // A few names at a time, so that a directory can fail in its middle.
  if (size > 512) size = 512;
  char *bytes = malloc(size);
  size_t used = 0;
  if (at == 0) rewinddir(directory);
  else seekdir(directory, at);
  for (struct dirent *it; (it = readdir(directory));) {
    struct stat st = {.st_ino = it->d_ino,
                      .st_mode = (mode_t)it->d_type << 12};
    size_t length = fuse_add_direntry(req, bytes + used, size - used,
                                      it->d_name, &st, it->d_off);
    if (length > size - used) break;
    used += length;
  }
  fuse_reply_buf(req, bytes, used);
  free(bytes);
}

static void on_releasedir(fuse_req_t req, fuse_ino_t ino,
                          struct fuse_file_info *fi) {
  (void)ino;
  closedir((DIR *)(uintptr_t)fi->fh);
  fuse_reply_err(req, 0);
}

static void on_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
                        struct fuse_file_info *fi) {
  (void)ino, (void)datasync, (void)fi;
  fuse_reply_err(req, struck("fsyncdir"));
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino) {
  struct statvfs st;
  if (fstatvfs(fd_of(ino), &st) < 0) reply(req, -1);
  else fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops OPERATIONS = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .readlink = on_readlink,
    .mknod = on_mknod,
    .mkdir = on_mkdir,
    .symlink = on_symlink,
    .link = on_link,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .rename = on_rename,
    .open = on_open,
    .create = on_create,
    .read = on_read,
    .write = on_write,
    .flush = on_flush,
    .fsync = on_fsync,
    .release = on_release,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_releasedir,
    .fsyncdir = on_fsyncdir,
    .statfs = on_statfs,
};

int main(int count, char **names) {
  if (count != 5) return 2;
  umask(0);
  struct rlimit many = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &many);
  root.fd = open(names[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
  faults.control = open(names[3], O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
  faults.log = open(names[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (root.fd < 0 || faults.control < 0 || faults.log < 0) return 1;
  char *options[] = {names[0], "-o", "fsname=faulty"};
  struct fuse_args args = FUSE_ARGS_INIT(3, options);
  struct fuse_session *session =
      fuse_session_new(&args, &OPERATIONS, sizeof OPERATIONS, NULL);
  if (!session || fuse_session_mount(session, names[2]) < 0) return 1;
  puts("mounted");
  fflush(stdout);
  int result = fuse_session_loop(session);
  fuse_session_unmount(session);
  return result != 0;
}
