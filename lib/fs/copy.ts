/**
 * The content of a file, copied to its end: holes stay holes, and a copy that is
 * shorter than its source is an error.
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { OsError } from "../os/error.ts";
import {
  allocate,
  callsElsewhere,
  errno,
  failure,
  FICLONE,
  libc,
  type Memory,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
  unlessInterrupted,
} from "../os/libc.ts";
import { DescriptorFile } from "./descriptors.ts";
import type { OpenFile, Status } from "./directory.ts";

/** Who may stop a copy, between two pieces of it. */
export interface CopyControl {
  /** Called before each piece: throws if nobody wants the copy any more. */
  check(): void;
  /**
   * A pause to await between two pieces if it is time for one, so that a signal is
   * heard. Without it, this thread does nothing else meanwhile.
   */
  breathe?(): Promise<void> | undefined;
  /** Told how many bytes more were copied. */
  copied?(bytes: number): void;
}

/** A copy that nobody stops. */
export const UNSTOPPABLE: CopyControl = { check() {} };

/** Files up to this size, in bytes, are copied by one call: some 5 ms. */
const SMALL = 8 << 20;

/** So much is copied between two checks, in bytes: some 20 ms on a fast disk. */
const PIECE = 16 << 20;

/** What a kernel says when it can't copy between two files by itself (copy_file_range(2)). */
const COPY_BY_HAND: ReadonlySet<number> = new Set([
  ...[1, /* EPERM */ 9, /* EBADF */ 18, /* EXDEV */ 22 /* EINVAL */],
  ...[26, /* ETXTBSY */ 38, /* ENOSYS */ 95 /* EOPNOTSUPP */],
]);

/**
 * Copies what is in a file into a new one.
 *
 * @param status What is known of the source; taken through the open file.
 * @returns Nothing if all is done; else a promise of it.
 * @throws What the OS said; a {@linkcode CacheError} of kind `io` if the source ends
 * before its size; what `control` throws.
 */
export function copyContent(
  source: OpenFile,
  target: OpenFile,
  status: Status,
  control: CopyControl,
): Promise<void> | undefined {
  // Of size 0 though there is content: FUSE and files like those of /proc.
  if (status.size === 0) {
    const n = source.read((buffer ??= allocate(1 << 20)).bytes);
    return n === 0 ? undefined : copyUnknown(source, target, n, control);
  }
  if (
    !(source instanceof DescriptorFile) || !(target instanceof DescriptorFile)
  ) {
    if (status.size > SMALL) {
      return copyByHand(source, target, status.size, control);
    }
    return copyPieces(source, target, status.size, control);
  }
  const { size, allocated = size } = status;
  if (allocated < size) return copyExtents(source, target, size, control);
  if (size <= SMALL || !control.breathe) {
    copyRange(source, target, 0, size, control);
    return undefined;
  }
  return copyElsewhere(source, target, size, control);
}

/** One range, in pieces. Both files stand at its beginning. */
function copyRange(
  source: DescriptorFile,
  target: DescriptorFile,
  begin: number,
  end: number,
  control: CopyControl,
): undefined {
  for (let at = begin; at < end;) {
    control.check();
    const n = copyPiece(source, target, end - at);
    if (n === 0) return copyPieces(source, target, end - at, control);
    at += n;
    control.copied?.(n);
  }
}

/** How many bytes were copied; 0 where the kernel does not copy by itself. */
function copyPiece(
  source: DescriptorFile,
  target: DescriptorFile,
  left: number,
): number {
  const c = libc();
  const most = Math.min(left, PIECE);
  const n = unlessInterrupted(() =>
    c.copy_file_range(source.fd, 0n, target.fd, 0n, BigInt(most), 0)
  );
  if (n >= 0) return n;
  if (COPY_BY_HAND.has(errno())) return 0;
  throw failure("copy", target.path);
}

/** The same on a thread of the runtime, so that a signal is heard meanwhile. */
async function copyElsewhere(
  source: DescriptorFile,
  target: DescriptorFile,
  size: number,
  control: CopyControl,
): Promise<void> {
  const { copy_file_range } = callsElsewhere();
  for (let at = 0; at < size;) {
    control.check();
    const most = Math.min(size - at, PIECE);
    let n: number = await copy_file_range(
      source.fd,
      0n,
      target.fd,
      0n,
      BigInt(most),
      0,
    );
    // Made again here, it says why; there, errno is another thread's.
    if (n <= 0) n = copyPiece(source, target, size - at);
    if (n === 0) return await copyByHand(source, target, size - at, control);
    at += n;
    control.copied?.(n);
  }
}

/** Data where there is data, by lseek(2). */
async function copyExtents(
  source: DescriptorFile,
  target: DescriptorFile,
  size: number,
  control: CopyControl,
): Promise<void> {
  const c = libc();
  const seek = (file: DescriptorFile, to: number, how: number) =>
    unlessInterrupted(() => Number(c.lseek(file.fd, BigInt(to), how)));
  for (let at = 0; at < size;) {
    const begin = seek(source, at, SEEK_DATA);
    if (begin < 0) {
      const number = errno();
      if (number === ENXIO) break; // nothing but a hole up to the end
      if (number !== EINVAL) throw new OsError(number, "seek in", source.path);
      return copyRange(source, target, at, size, control); // no holes known here
    }
    const hole = seek(source, begin, SEEK_HOLE);
    if (hole < 0) throw failure("seek in", source.path);
    const end = Math.min(hole, size, begin + PIECE);
    if (
      seek(source, begin, SEEK_SET) < 0 || seek(target, begin, SEEK_SET) < 0
    ) throw failure("seek in", source.path);
    copyRange(source, target, begin, end, control);
    at = end;
    const pause = control.breathe?.();
    if (pause) await pause;
  }
  if (unlessInterrupted(() => libc().ftruncate(target.fd, BigInt(size))) < 0) {
    throw failure("copy", target.path);
  }
}

const ENXIO = 6;
const EINVAL = 22;

let buffer: Memory | undefined;

/** A number of bytes, by reading and writing. */
function copyPieces(
  source: OpenFile,
  target: OpenFile,
  length: number,
  control: CopyControl,
): undefined {
  const { bytes } = buffer ??= allocate(1 << 20);
  for (let left = length; left > 0;) {
    control.check();
    const n = source.read(bytes.subarray(0, Math.min(left, bytes.length)));
    if (n === 0) {
      throw new CacheError(
        `"${source.path}" ended ${left} bytes before its size`,
        source.path,
        "io",
      );
    }
    target.write(bytes.subarray(0, n));
    left -= n;
    control.copied?.(n);
  }
}

async function copyByHand(
  source: OpenFile,
  target: OpenFile,
  length: number,
  control: CopyControl,
): Promise<void> {
  for (let left = length; left > 0; left -= SMALL) {
    copyPieces(source, target, Math.min(left, SMALL), control);
    const pause = control.breathe?.();
    if (pause) await pause;
  }
}

/** Up to the end, wherever that is. */
async function copyUnknown(
  source: OpenFile,
  target: OpenFile,
  first: number,
  control: CopyControl,
): Promise<void> {
  const { bytes } = buffer!;
  for (let n = first; n > 0; n = source.read(bytes)) {
    control.check();
    target.write(bytes.subarray(0, n));
    const pause = control.breathe?.();
    if (pause) await pause;
  }
}

/**
 * Lets the target share the source's blocks: FICLONE (ioctl_ficlonerange(2)).
 *
 * @throws What the OS said. Nothing is in the target then.
 */
export function cloneContent(source: OpenFile, target: OpenFile): void {
  const [from, to] = [source as DescriptorFile, target as DescriptorFile];
  const c = libc();
  if (unlessInterrupted(() => c.ioctl(to.fd, FICLONE, from.fd)) < 0) {
    throw failure("clone", source.path);
  }
}
