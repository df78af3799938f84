/**
 * The address of a key, and what lies there.
 *
 * A remote keeps action results by the digests of actions. A key's action says that
 * `rebuild-cache`, the bucket and the key are run, which nobody does: its digest is the
 * address. Its result names the tree, and where small contents lie together, the packs.
 *
 * @module
 */

import type { RemoteKey } from "../cache/remote.ts";
import { digestOf, EMPTY, readDigest, writeDigest } from "./digest.ts";
import {
  type Digest,
  type Engine,
  RemoteError,
  type Upload,
} from "./engine.ts";
import { Reader, Writer } from "./wire.ts";

/** Who has made an entry, and how. */
const MAKER = "rebuild-cache/1";

/** What a signature is called among the metadata of a result. */
const SIGNATURE = "type.googleapis.com/rebuild_cache.v1.Signature";

/** How trees are kept. */
export type Layout = Engine["layout"];

/** The address of a key. */
export interface KeyAction {
  readonly digest: Digest;
  /** The messages that the digest is of: the action first. */
  readonly uploads: readonly [Upload, Upload];
}

/** The address of a key. Where there are packs, it is another one. */
export function actionOf(
  { bucket, key }: RemoteKey,
  layout: Layout,
): KeyAction {
  const writer = new Writer();
  const name = layout === "packs" ? `${key}#packs` : key;
  for (const argument of ["rebuild-cache", bucket, name]) {
    writer.text(1, argument, true);
  }
  writer.text(7, "tree", true);
  const command = upload(writer.take());
  writeDigest(writer, 1, command.digest);
  writeDigest(writer, 2, EMPTY);
  writer.bytes(9, new TextEncoder().encode(MAKER));
  const action = upload(writer.take());
  return { digest: action.digest, uploads: [action, command] };
}

function upload(content: Uint8Array<ArrayBuffer>): Upload {
  return { digest: digestOf(content), content };
}

/** What lies under a key. */
export interface KeyResult {
  /** The tree's message. */
  readonly tree: Digest;
  /** Contents that lie together, in order. Only where there are packs. */
  readonly packs: readonly Digest[];
  /** Contents that lie alone. Only where there are packs. */
  readonly files: readonly Digest[];
  readonly signature?: Uint8Array<ArrayBuffer>;
}

/** Encodes what will lie under a key. */
export function encodeResult(
  { tree, packs, files, signature }: KeyResult,
  layout: Layout,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  const writeFile = (path: string, digest: Digest) =>
    writer.message(2, () => {
      writer.text(1, path);
      writeDigest(writer, 2, digest);
    });
  if (layout === "packs") {
    writeFile("tree", tree);
    packs.forEach((digest, index) => writeFile(`pack/${index}`, digest));
    for (const digest of files) writeFile(`file/${digest.hash}`, digest);
  } else {
    writer.message(3, () => {
      writer.text(1, "tree");
      writeDigest(writer, 3, tree);
      writer.number(4, 1);
    });
  }
  writer.message(9, () => {
    writer.text(1, MAKER);
    if (!signature) return;
    writer.message(11, () => {
      writer.text(1, SIGNATURE);
      writer.bytes(2, signature);
    });
  });
  return writer.take();
}

/**
 * Decodes what lies under a key, all of it checked.
 *
 * @throws {RemoteError} Of kind `wrong` if it is not what {@linkcode encodeResult} makes.
 */
export function decodeResult(bytes: Uint8Array, layout: Layout): KeyResult {
  const reader = new Reader(bytes);
  const files = new Map<string, Digest>();
  const directories = new Map<string, Digest>();
  let signature: Uint8Array<ArrayBuffer> | undefined;
  for (let field; (field = reader.next()) > 0;) {
    if (field === 2) readOutput(reader.bytes(), 2, files);
    else if (field === 3) readOutput(reader.bytes(), 3, directories);
    else if (field === 4 && reader.number() !== 0) throw wrong();
    else if (field === 9) {
      signature = readSignature(reader.bytes()) ?? signature;
    }
  }
  const [named, others] = layout === "packs"
    ? [files, directories]
    : [directories, files];
  const tree = named.get("tree");
  if (!tree || others.size > 0) throw wrong();
  named.delete("tree");
  const packs = takePacks(named);
  for (const [path, { hash }] of named) {
    if (path !== `file/${hash}`) throw wrong();
  }
  if (layout === "files" && packs.length + named.size > 0) throw wrong();
  return {
    tree,
    packs,
    files: [...named.values()],
    ...signature && { signature },
  };
}

function takePacks(files: Map<string, Digest>): Digest[] {
  const packs: Digest[] = [];
  for (let pack; (pack = files.get(`pack/${packs.length}`));) {
    files.delete(`pack/${packs.length}`);
    packs.push(pack);
  }
  return packs;
}

/** An output file has its digest in field 2, an output directory in field 3. */
function readOutput(
  bytes: Uint8Array,
  digestField: number,
  into: Map<string, Digest>,
): void {
  const reader = new Reader(bytes);
  let path = "";
  let digest: Digest | undefined;
  for (let field; (field = reader.next()) > 0;) {
    if (field === 1) path = reader.text();
    else if (field === digestField) digest = readDigest(reader.bytes());
  }
  if (!digest || into.has(path)) throw wrong();
  into.set(path, digest);
}

function readSignature(
  metadata: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  const reader = new Reader(metadata);
  let found: Uint8Array<ArrayBuffer> | undefined;
  for (let field; (field = reader.next()) > 0;) {
    if (field !== 11) continue; // the worker, and times that servers note
    const any = new Reader(reader.bytes());
    let type = "";
    let value = new Uint8Array();
    for (let inner; (inner = any.next()) > 0;) {
      if (inner === 1) type = any.text();
      else if (inner === 2) value = any.bytes().slice();
    }
    if (type === SIGNATURE) found = value;
  }
  return found;
}

function wrong(): RemoteError {
  return new RemoteError("wrong", "what it has under the key is no entry");
}
