/**
 * A push: what is missing there is sent, and the entry last, when all that it names is
 * there.
 *
 * @module
 */

import type { RemoteKey, RemoteSource } from "../cache/remote.ts";
import { log } from "../log.ts";
import { pause } from "../os/patience.ts";
import { actionOf, encodeResult } from "./action.ts";
import { digestOf } from "./digest.ts";
import { type Digest, RemoteError, type Upload } from "./engine.ts";
import { type Pack, packsOf, PackSource, readPack } from "./pack.ts";
import { bytesOf, type Result, type Session } from "./session.ts";
import type { SigningKey } from "./sign.ts";
import type { EncodedTree } from "./tree.ts";

/** Before so many bytes are sent it is tried whether any may be sent. */
const BIG = 16 << 20;

/** Packs are kept in memory up to so many bytes; the others are read once more. */
const KEPT = 64 << 20;

/** A tree of more bytes is one that Buildbarn, as it is mostly set up, never gives back. */
const USUAL_TREE = 16 << 20;

/** Pushes a tree. */
export async function push(
  session: Session,
  key: RemoteKey,
  tree: EncodedTree,
  source: RemoteSource,
  signing: SigningKey | undefined,
): Promise<Result> {
  const { name, engine, call, update, lost } = session;
  if (update === false) {
    throw new RemoteError(
      "refused",
      "it may not be written with these credentials",
    );
  }
  const { layout } = engine;
  if (layout === "files" && tree.bytes.length > USUAL_TREE) {
    log.warn(() =>
      `The tree has a list of ${tree.bytes.length} bytes: where "${name}" takes 16 MiB at most, it can't be pulled`
    );
  }
  const action = actionOf(key, layout);
  const plan = layout === "packs"
    ? await planPacks(session, tree, source)
    : planFiles(tree, action.uploads);
  const isLost = lost.has(action.digest.hash);
  const uploads = isLost ? plan.all : await missing(session, plan);
  const bytes = bytesOf(uploads.map(({ digest }) => digest));
  session.expect(bytes);
  if (bytes > BIG) {
    // Some servers say that one may write, and mean it only when one does.
    await engine.upload([action.uploads[0]], plan.source(source), call);
  }
  if (uploads.length > 0) {
    await engine.upload(uploads, plan.source(source), call);
  }
  const { packs, files } = plan;
  const signature = await signing?.sign(key, tree.digest);
  const result = encodeResult(
    { tree: tree.digest, packs, files, ...signature && { signature } },
    layout,
  );
  await engine.putAction(action.digest, result, call);
  lost.delete(action.digest.hash);
  const sent = uploads.reduce((sum, it) => sum + plan.filesIn(it.digest), 0);
  return { outcome: "pushed", files: sent };
}

/** What is to be there. */
interface Plan {
  readonly all: readonly Upload[];
  /** Those that are asked for at first. If one of them is missing, so are the others. */
  readonly first: readonly Upload[];
  readonly packs: readonly Digest[];
  readonly files: readonly Digest[];
  source(source: RemoteSource): RemoteSource;
  /** How many files of the tree are in what is sent. */
  filesIn(digest: Digest): number;
}

/** What is not there. */
async function missing(
  { engine, call }: Session,
  { all, first }: Plan,
): Promise<readonly Upload[]> {
  const ask = async (uploads: readonly Upload[]) => {
    if (uploads.length === 0) return uploads;
    const digests = uploads.map(({ digest }) => digest);
    const found = await engine.missing(digests, call);
    const hashes = new Set(found.map(({ hash }) => hash));
    return uploads.filter(({ digest }) => hashes.has(digest.hash));
  };
  const rest = all.filter((it) => !first.includes(it));
  const found = await ask(first);
  return [...found, ...found.length > 0 ? rest : await ask(rest)];
}

function planFiles(
  { bytes, digest, contents }: EncodedTree,
  actions: readonly Upload[],
): Plan {
  const files = new Set(contents.map(({ hash }) => hash));
  const all: Upload[] = [
    ...actions,
    { digest, content: bytes },
    ...contents.map((digest) => ({ digest })),
  ];
  return {
    all,
    first: all,
    packs: [],
    files: [],
    source: (source) => source,
    filesIn: ({ hash }) => files.has(hash) ? 1 : 0,
  };
}

async function planPacks(
  { call: { signal } }: Session,
  { bytes, digest, contents }: EncodedTree,
  source: RemoteSource,
): Promise<Plan> {
  const { packs, alone } = packsOf(contents);
  const byHash = new Map<string, Pack>();
  const uploads: Upload[] = [];
  let kept = 0;
  for (const pack of packs) {
    const content = readPack(pack, source);
    const digest = digestOf(content);
    byHash.set(digest.hash, pack);
    kept += pack.size;
    uploads.push(kept > KEPT ? { digest } : { digest, content });
    await pause(0); // reading and hashing lets nobody else run
    signal.throwIfAborted();
  }
  const big = new Set(alone.map(({ hash }) => hash));
  // New contents are a new tree, which needs no question then.
  const first = [...uploads, ...alone.map((digest) => ({ digest }))];
  return {
    all: [...first, { digest, content: bytes }],
    first,
    packs: uploads.map(({ digest }) => digest),
    files: alone,
    source: (source) => new PackSource(byHash, source),
    filesIn: ({ hash }) =>
      byHash.get(hash)?.slices.length ?? (big.has(hash) ? 1 : 0),
  };
}
