import {
  type Directory,
  inodeKey,
  isSameInode,
  pathIn,
  type Status,
} from "../fs/directory.ts";
import { listWholeAtOnce } from "../fs/list.ts";
import { removeQuietly } from "../fs/names.ts";
import { log } from "../log.ts";
import { type ErrorKind, errorKind, osErrorText } from "../os/error.ts";
import { Breath, patiently } from "../os/patience.ts";
import {
  addBuilt,
  Builder,
  type BuildJob,
  descend,
  type Rooms,
  type Waiting,
} from "./build.ts";
import { LinkError, linkFailure } from "./error.ts";
import { LADDERS, type LadderState, type LinkMode } from "./ladder.ts";
import type { LinkTreeOptions } from "./options.ts";
import { Candidate, type Counts, noteFallback, placeFile } from "./place.ts";
import { filesIn } from "./report.ts";
import type { Link, OtherName } from "./reset.ts";
import { Shared } from "./shared.ts";
import type { Answer, Order } from "./worker.ts";

/** Files after which a second thread pays: it takes 12 ms to start. */
const ENOUGH_FILES = 1500;

/** Subtrees to divide a tree into: the last to be taken decides the end. */
const ENOUGH_SUBTREES = 64;

/** Levels down to which a tree is divided. */
const DEEP = 8;

/** Fewer are not worth a second thread. */
const WORTH_SHARING = 16;

/** How a tree is built. */
export type BuildOptions = Pick<
  LinkTreeOptions,
  "jobs" | "signal" | "onProgress"
>;

/**
 * Builds a tree, alone at first, then with a worker if it turns out to be big.
 * Every subtree is taken by exactly one thread, by a counter that they share; a
 * thread that fails makes the others stop, and its error comes back. What had to
 * wait is done at the end.
 *
 * @param job What to build.
 * @param rooms Where. The destination exists.
 * @returns What was built. The top directory has not got its mode and times yet: they
 * are the last of `unfinished`.
 */
export async function buildTree(
  job: BuildJob,
  rooms: Rooms,
  options: BuildOptions,
): Promise<{ builder: Builder; threads: number }> {
  const { jobs = 2, onProgress, signal } = options;
  const ladder: LadderState = new Map();
  const shared = new Shared();
  let directories = 0;
  let isShared = false;
  // Of the file that is being copied, which is counted when it is in place.
  let [partial, before] = [0, 0];
  const copied = (bytes: number) => {
    partial = built.bytes === before ? partial + bytes : bytes;
    before = built.bytes;
  };
  const tell = () => {
    const more = isShared ? shared.done : NOTHING;
    const begun = built.bytes === before ? partial : 0;
    const mode = mostlyBy(built);
    onProgress?.({
      files: filesIn(built) + more.files,
      directories: directories + more.directories,
      bytes: built.bytes + begun + more.bytes,
      ...mode && { mode },
    });
  };
  const breath = new Breath(signal, tell);
  using builder = new Builder(
    job,
    rooms,
    ladder,
    {
      check: () => signal?.throwIfAborted(),
      breathe: () => breath.due(),
      copied,
    },
    (inode) => shared.claim(inode),
    () => directories++,
  );
  const { built } = builder;
  signal?.throwIfAborted();
  let threads = 1;
  const queue = [""];
  let at = 0;
  // Breadth first, so that what is left to share are large subtrees.
  while (at < queue.length && queue.length - at < ENOUGH_SUBTREES) {
    const folder = queue[at]!;
    // A chain is no tree: going down it step by step from the top would never end.
    if (folder.split("/").length > DEEP) break;
    at++;
    const below: string[] = [];
    await builder.one(folder, below);
    for (const name of below) queue.push(`${folder}/${name}`);
  }
  // The largest first: those nearer to the top.
  for (; at < queue.length; at++) {
    const left = queue.length - at;
    if (jobs > 1 && left >= WORTH_SHARING && filesIn(built) >= ENOUGH_FILES) {
      const order = await orderOf(job, rooms, ladder, queue.slice(at), shared);
      isShared = true;
      threads = await share(builder, order, shared, jobs - 1, signal);
      isShared = false; // what the workers did is in `built`
      directories = built.directories + 1;
      break;
    }
    await builder.subtree(queue[at]!);
  }
  await finishWaiting(builder, job);
  signal?.throwIfAborted();
  tell();
  return { builder, threads };
}

const NOTHING = { files: 0, directories: 0, bytes: 0 };

/** How most files got there. */
function mostlyBy(built: Counts): LinkMode | undefined {
  const { cloned, hardlinked, symlinked, copied } = built;
  const most = Math.max(cloned, hardlinked, symlinked, copied);
  if (most === 0) return undefined;
  if (most === copied) return "copy";
  return most === cloned
    ? "clone"
    : most === hardlinked
    ? "hardlink"
    : "symlink";
}

// Most trees need no second thread, and no reset: what those take is loaded by them.

async function orderOf(
  job: BuildJob,
  { source, destination, scratch }: Rooms,
  ladder: LadderState,
  subtrees: readonly string[],
  shared: Shared,
): Promise<Order> {
  const { toRoom } = await import("./worker.ts");
  const rooms = {
    source: toRoom(source),
    destination: toRoom(destination),
    scratch: toRoom(scratch),
  };
  return { job, rooms, ladder, subtrees, shared: shared.buffer };
}

async function share(
  builder: Builder,
  order: Order,
  shared: Shared,
  workers: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  // More than one beside this thread and the cores only stand in each other's way.
  const most = Math.min(
    workers,
    Math.max(2, navigator.hardwareConcurrency - 1),
  );
  const answers = Array.from({ length: most }, () => ask(order));
  let failed: unknown;
  try {
    for (let next; (next = shared.next()) < order.subtrees.length;) {
      await builder.subtree(order.subtrees[next]!);
    }
  } catch (error) {
    shared.stop();
    failed = error;
  }
  const stop = () => shared.stop();
  signal?.addEventListener("abort", stop);
  const settled = await Promise.all(answers);
  signal?.removeEventListener("abort", stop);
  let threads = 1;
  for (const answer of settled) {
    if (!answer) continue;
    threads++;
    if ("built" in answer) addBuilt(builder.built, answer.built);
    else {
      const { message, src, dst, kind } = answer.error;
      failed ??= new LinkError(message, src, dst, kind);
    }
  }
  signal?.throwIfAborted();
  if (failed) throw failed;
  if (threads - 1 < shared.begun) {
    const { source, destination } = builder.rooms;
    throw new LinkError(
      `Cannot link "${source.path}": a worker died`,
      source.path,
      destination.path,
      "other",
    );
  }
  return threads;
}

/** Sends an order to a new worker. No answer if it could not start, or died. */
function ask(order: Order): Promise<Answer | undefined> {
  let worker: Worker;
  try {
    worker = new Worker(new URL("./worker.ts", import.meta.url), {
      type: "module",
    });
  } catch (error) {
    log.debug(() => `Building with one thread: ${error}`);
    return Promise.resolve(undefined);
  }
  const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    log.debug(() => `Building with one thread: ${event.message}`);
    resolve(undefined);
  };
  worker.postMessage(order);
  return promise.finally(() => worker.terminate());
}

/** Second names of inodes that are in place, and files at their link limit. */
async function finishWaiting(builder: Builder, job: BuildJob): Promise<void> {
  const { waiting, unfinished } = builder.built;
  const folders = new Set<string>();
  const full = new Map<string, Waiting[]>();
  for (const it of waiting) {
    folders.add(it.folder);
    if (it.why === "inode") await placeSecondName(builder, it, job.merge);
    else {
      using from = descend(builder.rooms.source, it.folder);
      const status = from.look(it.name);
      const inode = (status && inodeKey(status)) ?? `${it.folder}/${it.name}`;
      const group = full.get(inode);
      if (group) group.push(it);
      else full.set(inode, [it]);
    }
  }
  for (const group of full.values()) await placeFull(builder, group, job.merge);
  waiting.length = 0;
  const top = unfinished.findIndex(({ folder }) => folder === "");
  const [last] = top >= 0 ? unfinished.splice(top, 1) : [];
  // What was put into a directory since has changed its times.
  if (!job.merge) {
    for (const folder of folders) {
      if (folder === "" || unfinished.some((it) => it.folder === folder)) {
        continue;
      }
      using from = descend(builder.rooms.source, folder);
      unfinished.push({ folder, status: from.opened });
    }
  }
  // Deepest first: one that can't be searched hides what is below it.
  unfinished.sort((a, b) => b.folder.length - a.folder.length);
  for (const it of unfinished) builder.finish(it);
  unfinished.length = 0;
  if (last) unfinished.push(last);
}

/** Opens a directory to put something into it, whatever its mode is by now. */
function openToWrite(builder: Builder, folder: string): Directory {
  const directory = descend(builder.rooms.destination, folder);
  const { mode } = directory.opened;
  if ((mode & 0o300) !== 0o300 && Deno.build.os !== "windows") {
    directory.setAccess({ mode: mode | 0o700 });
  }
  return directory;
}

async function placeSecondName(
  builder: Builder,
  { folder, name, mutable }: Waiting,
  merge: boolean,
): Promise<void> {
  const { rooms, built, context } = builder;
  using from = descend(rooms.source, folder);
  using to = openToWrite(builder, folder);
  const status = from.look(name);
  const inode = status && builder.identityOf(folder, name, status);
  const first = inode === undefined ? undefined : built.firstNames.get(inode);
  if (status && first) {
    try {
      using there = descend(rooms.destination, first[0]);
      if (merge) replaceByLink(there, first[1], rooms.scratch, to, name);
      else patiently(() => there.link(first[1], to, name));
      if (status.kind === "symlink") built.links++;
      else countSecond(builder, status);
      return;
    } catch (error) {
      if (!UNLINKABLE.has(errorKind(error))) {
        const [source, path] = [pathIn(from, name), pathIn(to, name)];
        const what = `Cannot link "${source}" to "${path}"`;
        throw linkFailure(what, source, path, error);
      }
      context.keeper.note("hardlink", osErrorText(error), pathIn(to, name));
    }
  }
  if (status?.kind === "symlink") {
    builder.copyLink(from, to, name, undefined);
  } else await placeAlone(builder, from, to, name, mutable, merge);
}

/** What means that there can be no second name here, and a file of its own can. */
const UNLINKABLE: ReadonlySet<ErrorKind> = new Set([
  "link-limit",
  "unsupported",
  "permission",
  "cross-device",
]);

/** It was placed as the first name was. */
function countSecond({ built, context }: Builder, { size }: Status): void {
  const { pair, options } = context;
  built.bytes += size;
  if (size === 0) built.created++;
  else if (!pair.retired.has("clone") && LADDERS[options.mode][0] === "clone") {
    built.cloned++;
  } else built.copied++;
}

function replaceByLink(
  there: Directory,
  name: string,
  scratch: Directory,
  to: Directory,
  newName: string,
): void {
  const temporary = `link-${crypto.randomUUID().slice(0, 8)}`;
  try {
    patiently(() => there.link(name, scratch, temporary));
    patiently(() => scratch.rename(temporary, to, newName));
  } finally {
    removeQuietly(scratch, temporary);
  }
}

/** A file of its own. */
async function placeAlone(
  { rooms, context }: Builder,
  from: Directory,
  to: Directory,
  name: string,
  mutable: boolean,
  merge: boolean,
): Promise<void> {
  using candidate = new Candidate(from, name);
  const alone = {
    ...context,
    claim: undefined,
    defersLimit: false,
    options: { ...context.options, onLinkLimit: "copy" as const },
  };
  if (!merge) {
    await placeFile(candidate, to, name, mutable, alone);
    return;
  }
  const temporary = `alone-${crypto.randomUUID().slice(0, 8)}`;
  try {
    await placeFile(candidate, rooms.scratch, temporary, mutable, {
      ...alone,
      options: { ...alone.options, maxLinks: 1 },
    });
    patiently(() => rooms.scratch.rename(temporary, to, name));
  } finally {
    removeQuietly(rooms.scratch, temporary);
  }
}

/** Names of one inode that has all the links that it can have. */
async function placeFull(
  builder: Builder,
  group: readonly Waiting[],
  merge: boolean,
): Promise<void> {
  const { rooms, context, built } = builder;
  using held = new DisposableStack();
  const links: Link[] = group.map(({ folder, name }) => {
    const to = held.use(openToWrite(builder, folder));
    const from = held.use(descend(rooms.source, folder));
    // A merge brings it to its name by a rename.
    const newName = merge ? `full-${crypto.randomUUID().slice(0, 8)}` : name;
    return { from, name, to: merge ? rooms.scratch : to, newName };
  });
  // Of a merge it may be the rename that was refused (btrfs).
  const known = new Set(group.map(({ folder, name }) => `${folder}/${name}`));
  const others = (old: Status) =>
    old.links > group.length ? otherNames(builder, old, known, held) : [];
  const { resetAndLink } = await import("./reset.ts");
  const mode = await resetAndLink(
    links,
    rooms.scratch,
    context,
    merge,
    others,
  );
  if (mode) {
    for (const [i, { to, newName, name, from }] of links.entries()) {
      if (merge) {
        using place = descend(rooms.destination, group[i]!.folder);
        try {
          patiently(() => to.rename(newName, place, name));
        } finally {
          removeQuietly(to, newName);
        }
      }
      if (mode === "hardlink") built.hardlinked++;
      else built.copied++;
      built.bytes += from.look(name)?.size ?? 0;
    }
    return;
  }
  for (const { folder, name, mutable } of group) {
    using from = descend(rooms.source, folder);
    using to = openToWrite(builder, folder);
    const why = new Error("It has all the links that it can have");
    const path = pathIn(from, name);
    noteFallback(built, "hardlink", "link-limit", why, path);
    await placeAlone(builder, from, to, name, mutable, merge);
  }
}

/**
 * The names in the tree that an inode has beside those that are known. Nobody keeps
 * them: a reset is rare, and looks through the tree.
 */
function* otherNames(
  { rooms }: Builder,
  old: Status,
  known: ReadonlySet<string>,
  held: DisposableStack,
): Generator<OtherName> {
  const folders = [""];
  for (let folder; (folder = folders.pop()) !== undefined;) {
    const from = descend(rooms.source, folder);
    let keep = false;
    for (const { name, kind } of listWholeAtOnce(from)) {
      const path = `${folder}/${name}`;
      if (kind === "directory") folders.push(path);
      if (kind !== "file" || known.has(path)) continue;
      const status = from.look(name);
      if (!status || !isSameInode(status, old)) continue;
      keep = true;
      yield { from, name, to: openIfThere(rooms.destination, folder, held) };
    }
    if (keep) held.use(from);
    else from[Symbol.dispose]();
  }
}

function openIfThere(
  root: Directory,
  folder: string,
  held: DisposableStack,
): Directory | undefined {
  try {
    return held.use(descend(root, folder));
  } catch {
    return undefined; // left out
  }
}
