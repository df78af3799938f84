/**
 * A pull: the entry, its signature, the tree, and the contents that are lacked.
 *
 * @module
 */

import {
  type RemoteKey,
  type RemoteSink,
  WrongContent,
} from "../cache/remote.ts";
import type { ListedDirectory } from "../link/listing.ts";
import { actionOf, decodeResult, type KeyResult } from "./action.ts";
import { EMPTY } from "./digest.ts";
import { type Digest, RemoteError } from "./engine.ts";
import { MemorySink } from "./memory_sink.ts";
import { packsOf, type Part, partsOf, slicesIn } from "./pack.ts";
import { pool } from "./pool.ts";
import { bytesOf, type Result, type Session } from "./session.ts";
import type { TrustedKey } from "./sign.ts";
import { encodeTree, LIMITS, UnsendableTree } from "./tree.ts";
import { type DecodedTree, decodeTree } from "./tree_decode.ts";

/** What was pulled. */
export interface PullResult extends Result {
  readonly tree?: readonly ListedDirectory[];
}

/**
 * Pulls a key.
 *
 * @param trusted Whose signature an entry must have; none: it needs no signature.
 */
export async function pull(
  session: Session,
  key: RemoteKey,
  sink: RemoteSink,
  trusted: readonly TrustedKey[],
): Promise<PullResult> {
  const { engine, call, lost } = session;
  const { hash: address } = actionOf(key, engine.layout).digest;
  try {
    const pulled = await pullFrom(session, key, sink, trusted);
    if (pulled === "nothing") {
      return { outcome: "miss", files: 0, reason: "it does not have the key" };
    }
    if ("outcome" in pulled) return pulled;
    lost.add(address);
    const reason = `it has the key, but ${pulled.gone} is gone`;
    return { outcome: "miss", files: 0, reason };
  } catch (error) {
    call.signal.throwIfAborted();
    if (error instanceof WrongContent) {
      lost.add(address);
      throw new RemoteError(
        "wrong",
        `it sent wrong bytes: ${error.message}`,
        error,
      );
    }
    if (error instanceof RemoteError && error.kind === "wrong") {
      lost.add(address);
    }
    throw error;
  }
}

async function pullFrom(
  session: Session,
  key: RemoteKey,
  sink: RemoteSink,
  trusted: readonly TrustedKey[],
): Promise<PullResult | { gone: string } | "nothing"> {
  const { engine, call } = session;
  // Who pushed by another protocol has it in the other layout.
  let { layout } = engine;
  let found = await engine.getAction(actionOf(key, layout).digest, call);
  if (!found) {
    layout = layout === "packs" ? "files" : "packs";
    found = await engine.getAction(actionOf(key, layout).digest, call);
  }
  if (!found) return "nothing";
  const result = decodeResult(found, layout);
  if (trusted.length > 0) await checkSignature(result, key, trusted);
  if (result.tree.size > LIMITS.bytes) {
    throw new RemoteError("wrong", "its tree is too large");
  }
  const listed = await knownTree(sink, result.tree) ??
    await fetchTree(session, result.tree);
  if (!listed) return { gone: "its tree" };
  const { tree, contents, hasEmpty } = listed;
  if (hasEmpty && !sink.has(EMPTY)) sink.put(EMPTY, new Uint8Array());
  const modes = new Map<string, number>();
  for (const { files } of tree) {
    for (const [, , mode, hash] of files) modes.set(hash, mode);
  }
  const lacked = contents.filter((it) => !sink.has(it, modes.get(it.hash)));
  let gone: number;
  if (layout === "packs") {
    gone = await fetchPacks(session, result, contents, lacked, sink);
  } else {
    session.expect(bytesOf(lacked));
    gone = await fetchFiles(session, lacked, sink);
  }
  if (gone > 0) return { gone: `a part of it (${gone} of its contents)` };
  return { outcome: "hit", tree, files: lacked.length };
}

async function fetchTree(
  { engine, call, expect }: Session,
  digest: Digest,
): Promise<DecodedTree | undefined> {
  expect(digest.size);
  const memory = new MemorySink();
  await engine.download([digest], memory, call);
  return memory.content && decodeTree(memory.content);
}

/** The tree, if the cache has it already: mostly a pull finds what it has. */
async function knownTree(
  sink: RemoteSink,
  { hash, size }: Digest,
): Promise<DecodedTree | undefined> {
  const tree = await sink.tree?.();
  if (!tree) return undefined;
  try {
    const { digest, contents } = encodeTree(tree);
    if (digest.hash !== hash || digest.size !== size) return undefined;
    const hasEmpty = tree.some(({ files }) => files.some(([, n]) => n === 0));
    return { tree, contents, hasEmpty };
  } catch (error) {
    if (error instanceof UnsendableTree) return undefined;
    throw error;
  }
}

async function checkSignature(
  { signature, tree }: KeyResult,
  key: RemoteKey,
  trusted: readonly TrustedKey[],
): Promise<void> {
  if (!signature) throw new RemoteError("refused", "the entry is not signed");
  for (const one of trusted) {
    if (await one.verifies(signature, key, tree)) return;
  }
  throw new RemoteError(
    "refused",
    "the entry is not signed by a key that is trusted",
  );
}

/** @returns How many are not there. */
async function fetchFiles(
  { engine, call }: Session,
  lacked: readonly Digest[],
  sink: RemoteSink,
): Promise<number> {
  if (lacked.length === 0) return 0;
  return (await engine.download(lacked, sink, call)).length;
}

async function fetchPacks(
  session: Session,
  result: KeyResult,
  contents: readonly Digest[],
  lacked: readonly Digest[],
  sink: RemoteSink,
): Promise<number> {
  const { packs, alone } = packsOf(contents);
  const isSame = packs.length === result.packs.length &&
    packs.every(({ size }, index) => size === result.packs[index]!.size);
  if (!isSame) {
    throw new RemoteError("wrong", "its packs are not those of its tree");
  }
  const wanted = new Set(lacked.map(({ hash }) => hash));
  const isLacked = ({ hash }: Digest) => wanted.has(hash);
  const files = alone.filter(isLacked);
  const parts = packs.flatMap((pack, index) =>
    partsOf(result.packs[index]!, pack, isLacked)
  );
  session.expect(bytesOf([...files, ...parts.map(sizeOfPart)]));
  let gone = await fetchFiles(session, files, sink);
  await pool(parts, PARTS, session.call.signal, async (part, signal) => {
    if (gone > 0) return; // a miss already
    const call = { ...session.call, signal };
    gone += await fetchPart({ ...session, call }, part, sink);
  });
  return gone;
}

/** So many packs, or parts of them, are in memory at a time. */
const PARTS = 8;

function sizeOfPart({ range: { from, to } }: Part) {
  return { size: to - from };
}

async function fetchPart(
  { engine, call }: Session,
  part: Part,
  sink: RemoteSink,
): Promise<number> {
  const { digest, from, to } = part.range;
  let bytes: Uint8Array | undefined;
  if (engine.range) bytes = await engine.range(part.range, call);
  else {
    // It keeps no packs itself, and knows no ranges.
    const memory = new MemorySink();
    await engine.download([digest], memory, call);
    bytes = memory.content?.subarray(from, to);
  }
  if (!bytes) return part.slices.length;
  for (const [digest, content] of slicesIn(part, bytes)) {
    sink.put(digest, content);
  }
  return 0;
}
