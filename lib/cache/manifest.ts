/**
 * What is in an archive, written down when it is put: so that it can be verified, and
 * counted without being walked.
 *
 * A manifest is a header (a line of JSON), a listing (see `link/listing.ts`), and in
 * the last line the SHA-256 of all that is before it. So an edit of any of it is
 * damage. (It proves nothing about who wrote it.)
 *
 * @module
 */

import { CacheError } from "../error.ts";
import { type Directory, pathIn } from "../fs/directory.ts";
import { readAll } from "../fs/read.ts";
import { Listing } from "../link/listing.ts";
import { osErrorText } from "../os/error.ts";
import { patiently } from "../os/patience.ts";
import { sha256 } from "../os/sha256.ts";
import type { Content } from "./content.ts";
import { isBucket, MANIFEST } from "./layout.ts";
import { failure } from "./root.ts";

const VERSION = 4;

/** The first line. */
export interface Header {
  readonly version: typeof VERSION;
  readonly bucket: string;
  readonly key: string;
  /** When it was put: an ISO 8601 date and time. */
  readonly created: string;
  readonly files: number;
  readonly directories: number;
  /** Bytes of all files; what has several names counts once. */
  readonly bytes: number;
  /** Bytes on the disk that putting it took: what was stored already took none. */
  readonly diskBytes: number;
  /** Bytes on the disk of what is not in the content store: directories, this file. */
  readonly ownBytes: number;
  /** SHA-256 of the listing without times, in hexadecimal digits. */
  readonly digest: string;
}

/** A whole manifest. */
export interface Manifest {
  readonly header: Header;
  readonly listing: Listing;
}

/** Of an older version: it is of no use, but it is not damaged. */
export const OLD = "old";

/** Writes a manifest. */
export async function manifestBytes(
  header: Omit<Header, "version">,
  { lines }: Content,
): Promise<Uint8Array<ArrayBuffer>> {
  const first = JSON.stringify({ version: VERSION, ...header });
  const text = `${[first, ...lines].join("\n")}\n`;
  const body = new TextEncoder().encode(text);
  const bytes = new Uint8Array(body.length + LAST);
  bytes.set(body);
  const last = `${await sha256(body)}\n`;
  bytes.set(new TextEncoder().encode(last), body.length);
  return bytes;
}

/** 64 digits and the end of the line. */
const LAST = 65;

/** What file systems give to files at a time, mostly. */
const BLOCK = 4096;

/** What an archive will take on the disk: its tree, itself, and its manifest. */
export function sizeOnDisk(
  archive: Directory,
  { lines, diskBytes, ownBytes }: Content,
): { diskBytes: number; ownBytes: number } {
  const { allocated = 0 } = archive.opened;
  const manifest = lines.reduce((sum, { length }) => sum + length, 512);
  const more = allocated + Math.ceil(manifest / BLOCK) * BLOCK;
  return { diskBytes: diskBytes + more, ownBytes: ownBytes + more };
}

/**
 * Reads all of a manifest.
 *
 * @throws {Damaged} If it is none, or missing.
 * @throws {CacheError} If it can't be read.
 */
export async function readManifest(
  archive: Directory,
): Promise<Manifest | typeof OLD> {
  const path = pathIn(archive, MANIFEST);
  const bytes = read(archive, Infinity);
  const end = bytes.indexOf(NEWLINE);
  const header = parseHeader(path, bytes.subarray(0, Math.max(0, end)));
  if (header === OLD) return OLD;
  const body = bytes.subarray(0, Math.max(0, bytes.length - LAST));
  const last = decode(path, bytes.subarray(body.length));
  if (body.length <= end || last !== `${await sha256(body)}\n`) {
    throw new Damaged(`"${path}" is damaged`, path);
  }
  try {
    return {
      header,
      listing: new Listing(decode(path, body.subarray(end + 1))),
    };
  } catch (error) {
    throw new Damaged(`"${path}" is damaged: ${osErrorText(error)}`, path);
  }
}

/** Reads the first line only, which is all that a list needs. */
export function readHeader(archive: Directory): Header | typeof OLD {
  const path = pathIn(archive, MANIFEST);
  for (let longest = 4096;; longest *= 16) {
    const bytes = read(archive, longest);
    const end = bytes.indexOf(NEWLINE);
    if (end < 0 && bytes.length === longest) continue; // a long key
    return parseHeader(path, bytes.subarray(0, Math.max(0, end)));
  }
}

const NEWLINE = 10;

/** A manifest, or a tree, is not what was put. */
export class Damaged extends CacheError {
  constructor(message: string, path: string) {
    super(message, path, "damaged");
  }
}

function read(archive: Directory, longest: number): Uint8Array<ArrayBuffer> {
  const path = pathIn(archive, MANIFEST);
  try {
    const kind = patiently(() => archive.look(MANIFEST))?.kind;
    if (kind === undefined) throw new Damaged(`"${path}" is missing`, path);
    if (kind !== "file") throw new Damaged(`"${path}" is not a file`, path);
    using file = patiently(() => archive.openFile(MANIFEST, "read"));
    return readAll(file, longest, file.opened.size);
  } catch (error) {
    throw failure("read", path, error);
  }
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    throw new Damaged(`"${path}" is damaged: it is not UTF-8`, path);
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function parseHeader(path: string, line: Uint8Array): Header | typeof OLD {
  let header: Partial<Record<keyof Header, unknown>>;
  try {
    header = JSON.parse(strict.decode(line));
  } catch {
    throw new Damaged(`"${path}" is no manifest`, path);
  }
  const { version } = header ?? {};
  if (version === 1 || version === 2 || version === 3) return OLD;
  if (isHeader(header)) return header;
  throw new Damaged(`"${path}" is no manifest`, path);
}

function isHeader(value: unknown): value is Header {
  if (typeof value !== "object" || value === null) return false;
  const { version, bucket, key, created, digest, ...counts } = value as Record<
    string,
    unknown
  >;
  const { files, directories, bytes, diskBytes, ownBytes, ...more } = counts;
  return version === VERSION && typeof bucket === "string" &&
    isBucket(bucket) && typeof key === "string" && key !== "" &&
    key.isWellFormed() && typeof created === "string" &&
    ISO.test(created) && !Number.isNaN(Date.parse(created)) &&
    typeof digest === "string" && /^[0-9a-f]{64}$/.test(digest) &&
    [files, directories, bytes, diskBytes, ownBytes].every((it) =>
      Number.isSafeInteger(it) && (it as number) >= 0
    ) && Object.keys(more).length === 0;
}

const ISO = /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
