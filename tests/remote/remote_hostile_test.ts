/** What an enemy who has the server can do to who pulls. */

import { assertEquals } from "@std/assert";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Digest } from "../../lib/cache/remote.ts";
import { actionOf, encodeResult } from "../../lib/remote/action.ts";
import { DirectorySchema, TreeSchema } from "../../lib/remote/messages_pb.ts";
import { openServer } from "../support/open_server.ts";
import { HttpCache } from "../support/http_cache.ts";
import { TempDir } from "../support/temp_dir.ts";
import { digestOf, DirectorySink } from "../support/trees.ts";

type Directory = MessageInitShape<typeof DirectorySchema>;

const KEY = { bucket: "default", key: "key" };
const EVIL = new TextEncoder().encode("evil");
const { hash, size } = digestOf(EVIL);
const DIGEST = { hash, sizeBytes: BigInt(size) };

function child(name: string, directory: Directory) {
  const bytes = toBinary(DirectorySchema, create(DirectorySchema, directory));
  const { hash, size } = digestOf(bytes);
  return { name, digest: { hash, sizeBytes: BigInt(size) } };
}

/** Pulls what an enemy has put there. */
async function attempt(
  root: Directory,
  children: Directory[] = [],
  packs: readonly Digest[] = [digestOf(EVIL)],
  treeSize?: number,
) {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  const tree = toBinary(TreeSchema, create(TreeSchema, { root, children }));
  const digest = digestOf(tree);
  for (const content of [tree, EVIL]) {
    const path = server.path("cas", digestOf(content).hash);
    Deno.writeFileSync(path, content);
  }
  const named = { ...digest, size: treeSize ?? digest.size };
  Deno.writeFileSync(
    server.path("ac", actionOf(KEY, "packs").digest.hash),
    encodeResult({ tree: named, packs, files: [] }, "packs"),
  );
  using remote = openServer(server.url);
  const sink = new DirectorySink(dir.at("sink"));
  const pulled = await remote.pull(KEY, sink);
  return { ...pulled, came: sink.came, requests: server.take() };
}

Deno.test("Remote.pull() gives what is decent", async () => {
  const { tree, report, came } = await attempt({
    files: [{ name: "f", digest: DIGEST }],
  });
  assertEquals([report.outcome, came], ["hit", [hash]]);
  assertEquals(tree![0]!.files[0]![0], "f");
});

Deno.test("Remote.pull() refuses trees that lead out, before any content comes", async () => {
  const file = { name: "f", digest: DIGEST };
  for (const name of ["../evil", "/etc/evil", "..", "a/../../b", "a\0"]) {
    const { tree, report, came, requests } = await attempt({
      files: [{ name, digest: DIGEST }],
    });
    assertEquals([tree, report.outcome, came], [undefined, "refused", []]);
    assertEquals(requests, { "GET /ac": 1, "GET /cas": 1 });
    assertEquals(report.reason!.includes("is not to be trusted"), true);
  }
  const both = await attempt({
    files: [{ name: "a", digest: DIGEST }],
    symlinks: [{ name: "a", target: "/tmp" }],
  });
  assertEquals([both.report.outcome, both.came], ["refused", []]);
  let last: Directory = { files: [file] };
  const all = [last];
  for (let level = 0; level < 40; level++) {
    last = { directories: [child("a", last), child("b", last)] };
    all.unshift(last);
  }
  const bomb = await attempt(all[0]!, all.slice(1));
  assertEquals([bomb.report.outcome, bomb.came], ["refused", []]);
});

Deno.test("Remote.pull() refuses packs that are not those of the tree", async () => {
  const root = { files: [{ name: "f", digest: DIGEST }] };
  const other = digestOf(new Uint8Array(4));
  const longer = { hash, size: 5_000_000_000 };
  for (const packs of [[], [longer], [digestOf(EVIL), other]]) {
    const { report, came } = await attempt(root, [], packs);
    assertEquals([report.outcome, came], ["refused", []]);
  }
  // Of the right size, and not there; there are other bytes under the pack's name.
  const gone = await attempt(root, [], [{ hash: "a".repeat(64), size: 4 }]);
  assertEquals(gone.report.outcome, "miss");
});

Deno.test("Remote.pull() fetches no tree that is too large", async () => {
  const { report, requests } = await attempt({}, [], [], 65 << 20);
  assertEquals(report.outcome, "refused");
  assertEquals(requests, { "GET /ac": 1 });
});
