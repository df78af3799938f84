"""all_kinds.py make ROOT OWNER GROUP KIND... | all_kinds.py look ROOT

make: a tree with the kinds of entries named, and what the file system refused as
JSON. look: the tree as JSON, entry by entry, with everything that a copy could lose.
Names are bytes here, which is why this isn't TypeScript.
"""
import hashlib, json, os, stat, struct, sys

HOUR = 3600 * 10**9
BILLION = 10**9
refused = []


def text(name):
    return name.decode("latin-1")


def write(path, content=b"content\n", mode=0o644):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def attribute(path, name, value):
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        refused.append(f"{name} of {text(path)}: {error.strerror}")


def acl(path, name, user, group, other, mask, named):
    # linux/posix_acl_xattr.h: version 2; tag, rights, id, in this order.
    entries = [(1, user, -1), (2, named, 4321), (4, group, -1), (16, mask, -1), (32, other, -1)]
    value = struct.pack("<I", 2)
    value += b"".join(struct.pack("<HHi", *entry) for entry in entries)
    attribute(path, f"system.posix_acl_{name}", value)


def plain(at):
    write(b"%s/file" % at)
    write(b"%s/other" % at, b"other\n", 0o664)
    write(b"%s/big" % at, bytes(range(256)) * 13_000 + b"end")


def modes(at):
    for mode in (0o600, 0o444, 0o400, 0o755, 0o711):
        write(b"%s/%o" % (at, mode), b"%o\n" % mode, mode)
    for mode in (0o1777, 0o2775, 0o700, 0o3771):
        os.mkdir(b"%s/dir-%o" % (at, mode))
        write(b"%s/dir-%o/in" % (at, mode))
        os.chmod(b"%s/dir-%o" % (at, mode), mode)


def secret(at):
    """What only root can read, whoever owns it."""
    write(b"%s/no-one" % at, b"secret\n", 0)
    os.mkdir(b"%s/dir" % at)
    write(b"%s/dir/in" % at)
    os.chmod(b"%s/dir" % at, 0)


def power(at):
    for mode in (0o4755, 0o2755, 0o6755):
        write(b"%s/%o" % (at, mode), b"#!/bin/true\n", mode)


def owners(at):
    write(b"%s/file" % at)
    os.mkdir(b"%s/dir" % at)
    write(b"%s/dir/in" % at)
    os.symlink(b"file", b"%s/link" % at)
    for number, name in enumerate([b"file", b"dir", b"dir/in", b"link"]):
        os.lchown(b"%s/%s" % (at, name), 1001 + number, 2001 + number)


def times(at):
    moments = {
        b"1950": -631152000 * BILLION + 123456789,
        b"1969": -1,
        b"1970": 0,
        b"now-ish": 1700000000 * BILLION + 999999999,
        b"2033": 2000000000 * BILLION + 1,
    }
    for name, moment in moments.items():
        write(b"%s/%s" % (at, name))
        os.mkdir(b"%s/dir-%s" % (at, name))
        write(b"%s/dir-%s/in" % (at, name))
        os.symlink(name, b"%s/link-%s" % (at, name))
        for path in (name, b"dir-" + name, b"link-" + name):
            when = (1600000000 * BILLION, moment)
            os.utime(b"%s/%s" % (at, path), ns=when, follow_symlinks=False)


def links(at):
    os.mkdir(b"%s/sub" % at)
    write(b"%s/one" % at, b"linked\n")
    for name in (b"two", b"sub/three"):
        os.link(b"%s/one" % at, b"%s/%s" % (at, name))
    write(b"%s/sub/other" % at, b"another group\n", 0o444)
    os.link(b"%s/sub/other" % at, b"%s/z" % at)


def odd_links(at):
    """Hard links of what a link mode makes anew."""
    write(b"%s/empty" % at, b"")
    os.link(b"%s/empty" % at, b"%s/empty-too" % at)
    os.symlink(b"nowhere", b"%s/symlink" % at)
    os.link(b"%s/symlink" % at, b"%s/symlink-too" % at, follow_symlinks=False)


def holes(at):
    size = 16 * 2**20
    for name, offset in ((b"middle", size // 2), (b"start", 0), (b"none", None), (b"end", size - 5)):
        with open(b"%s/%s" % (at, name), "wb") as file:
            if offset is not None:
                file.seek(offset)
                file.write(b"block")
            file.truncate(size)


def attributes(at):
    write(b"%s/file" % at)
    os.mkdir(b"%s/dir" % at)
    for name in (b"file", b"dir"):
        path = b"%s/%s" % (at, name)
        attribute(path, "user.text", b"value")
        attribute(path, "user.empty", b"")
        attribute(path, "user.bytes", bytes(range(256)) * 4)
    write(b"%s/empty" % at, b"")
    attribute(b"%s/empty" % at, "user.text", b"of an empty file")
    write(b"%s/read-only" % at, b"r\n", 0o644)
    attribute(b"%s/read-only" % at, "user.text", b"of a read-only file")
    os.chmod(b"%s/read-only" % at, 0o444)


def trusted(at):
    write(b"%s/file" % at)
    os.mkdir(b"%s/dir" % at)
    os.symlink(b"file", b"%s/link" % at)
    for name in (b"file", b"dir", b"link"):
        attribute(b"%s/%s" % (at, name), "trusted.of-root", name)


def capabilities(at):
    write(b"%s/program" % at, b"#!/bin/true\n", 0o755)
    os.chmod(at, 0o755)
    value = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw+ep
    attribute(b"%s/program" % at, "security.capability", value)


def acls(at):
    write(b"%s/file" % at, mode=0o600)
    acl(b"%s/file" % at, "access", 6, 0, 0, 6, 6)
    os.mkdir(b"%s/dir" % at)
    os.chmod(b"%s/dir" % at, 0o700)
    acl(b"%s/dir" % at, "access", 7, 0, 0, 7, 7)
    write(b"%s/dir/in" % at)
    os.mkdir(b"%s/dir/dir" % at)
    # What is inside has none: it must not get one by inheritance.
    acl(b"%s/dir" % at, "default", 7, 5, 0, 7, 7)
    os.mkdir(b"%s/default" % at)
    write(b"%s/default/empty" % at, b"")
    os.symlink(b"empty", b"%s/default/link" % at)
    acl(b"%s/default" % at, "default", 7, 7, 7, 7, 7)


def symlinks(at):
    write(b"%s/file" % at)
    os.mkdir(b"%s/dir" % at)
    targets = {
        b"to-file": b"file",
        b"to-dir": b"dir",
        b"up": b"../plain/file",
        b"absolute": b"/etc/hostname",
        b"dangling": b"no/such/thing",
        b"loop": b"loop",
        b"long": b"t" * 1000,
        b"bytes": b"to-\xff\xfe",
    }
    for number, (name, target) in enumerate(targets.items()):
        path = b"%s/%s" % (at, name)
        os.symlink(target, path)
        when = (0, (1500000000 + number) * BILLION + number)
        os.utime(path, ns=when, follow_symlinks=False)


def names(at):
    """Names that are not UTF-8, each beside the name that a lossy reading gives."""
    for name in (b"file-\xff", "file-\ufffd".encode()):
        write(b"%s/%s" % (at, name), b"the file " + name)
        link = name.replace(b"file", b"link")
        os.symlink(name, b"%s/%s" % (at, link))
        folder = b"%s/%s" % (at, name.replace(b"file", b"dir"))
        os.mkdir(folder)
        write(b"%s/in" % folder, b"in " + name)
        write(b"%s/in-\xc3(" % folder, b"in too " + name)
    for name in (b"\xed\xa0\x80", b"\xf0\x9f", b"-n", b"a\nb", b"a\\b", b" ", b"x" * 255, b"\xff" * 255, b"*"):
        write(b"%s/%s" % (at, name), b"odd " + name)


def twins(at):
    """Files only: a lossy reading finds the same file twice, and nothing amiss."""
    for name in (b"file-\xff", b"file-\xfe", "file-\ufffd".encode()):
        write(b"%s/%s" % (at, name), b"the twin " + name)


def read_only(at):
    os.makedirs(b"%s/a/b" % at)
    for path in (b"a/b", b"a"):
        write(b"%s/%s/file" % (at, path), mode=0o444)
        os.symlink(b"file", b"%s/%s/link" % (at, path))
        os.chmod(b"%s/%s" % (at, path), 0o555)


def empty(at):
    os.mkdir(b"%s/dir" % at)
    os.mkdir(b"%s/dir-555" % at)
    os.chmod(b"%s/dir-555" % at, 0o555)
    write(b"%s/file" % at, b"", 0o640)
    write(b"%s/file-444" % at, b"", 0o444)


def make(root, owner, group, kinds):
    if os.geteuid() != 0:
        owner = group = -1  # as they are
    os.umask(0)
    os.makedirs(root, exist_ok=True)
    for kind in kinds:
        at = b"%s/%s" % (root, kind.encode())
        os.mkdir(at)
        os.chmod(at, 0o755)
        if kind not in OWNERS_OF_THEIR_OWN:
            MAKERS[kind](at)
    for at, folders, files in os.walk(root, topdown=False):
        for name in folders + files:
            path = at + b"/" + name
            before = os.lstat(path)
            attributes = {}
            if not stat.S_ISLNK(before.st_mode):
                attributes = {it: os.getxattr(path, it) for it in os.listxattr(path)}
            os.lchown(path, owner, group)
            if not stat.S_ISLNK(before.st_mode):
                os.chmod(path, stat.S_IMODE(before.st_mode))  # a chown takes setuid away
            for name, value in attributes.items():
                os.setxattr(path, name, value)
    os.chown(root, owner, group)
    for kind in OWNERS_OF_THEIR_OWN:
        if kind in kinds:
            MAKERS[kind](b"%s/%s" % (root, kind.encode()))
    for number, kind in enumerate(sorted(kinds)):
        when = (0, -(number + 1) * HOUR - 7)
        os.utime(b"%s/%s" % (root, kind.encode()), ns=when)
    os.chmod(root, 0o555)
    os.utime(root, ns=(0, 1234567890 * BILLION + 987654321))
    print(json.dumps(refused))


OWNERS_OF_THEIR_OWN = ["owners"]
MAKERS = {
    name.replace("_", "-"): maker
    for name, maker in list(globals().items())
    if callable(maker) and name not in ("text", "write", "attribute", "acl", "make", "look")
}


def look(root):
    paths = [b""]
    for at, folders, files in os.walk(root):
        inside = at[len(root):]
        paths += [inside + b"/" + name for name in folders + files]
    paths.sort()
    first = {}
    entries = []
    for path in paths:
        info = os.lstat(root + path)
        kind = "dir" if stat.S_ISDIR(info.st_mode) else "link" if stat.S_ISLNK(info.st_mode) else "file"
        entry = {
            "path": text(path),
            "kind": kind,
            "mode": stat.S_IMODE(info.st_mode),
            "owner": f"{info.st_uid}:{info.st_gid}",
            "mtime": str(info.st_mtime_ns),
            "attributes": {
                name: os.getxattr(root + path, name, follow_symlinks=False).hex()
                for name in sorted(os.listxattr(root + path, follow_symlinks=False))
                if not name.startswith("trusted.SGI_ACL_")  # XFS shows its ACLs twice
            },
            "inode": str(info.st_ino),
        }
        if kind != "dir":
            entry["group"] = first.setdefault((info.st_dev, info.st_ino), text(path))
        if kind == "link":
            entry["content"] = text(os.readlink(root + path))
        if kind == "file":
            with open(root + path, "rb") as file:
                entry["content"] = hashlib.file_digest(file, "sha256").hexdigest()
            entry["size"] = info.st_size
            entry["blocks"] = info.st_blocks
        entries.append(entry)
    print(json.dumps(entries))


if sys.argv[1] == "make":
    make(os.fsencode(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
else:
    look(os.fsencode(sys.argv[2]))
