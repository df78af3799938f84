import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  create,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  actionOf,
  decodeResult,
  encodeResult,
  type KeyResult,
  type Layout,
} from "../../lib/remote/action.ts";
import { RemoteError } from "../../lib/remote/engine.ts";
import {
  ActionResultSchema,
  ActionSchema,
  CommandSchema,
} from "../../lib/remote/messages_pb.ts";
import { digestOf } from "../support/trees.ts";

const LAYOUTS: Layout[] = ["files", "packs"];
const [TREE, A, B] = [1, 2, 3].map((it) => digestOf(new Uint8Array(it)));
const EMPTY = digestOf(new Uint8Array());

Deno.test("actionOf() gives an action that is what it is for others, too", () => {
  const { digest, uploads } = actionOf({ bucket: "b", key: "k" }, "files");
  const [action, command] = uploads;
  assertEquals(digest, action.digest);
  assertEquals(digestOf(action.content!), action.digest);
  assertEquals(digestOf(command.content!), command.digest);
  const said = fromBinary(CommandSchema, command.content!);
  assertEquals(said.arguments, ["rebuild-cache", "b", "k"]);
  assertEquals(said.outputPaths, ["tree"]);
  const { commandDigest, inputRootDigest, salt } = fromBinary(
    ActionSchema,
    action.content!,
  );
  assertEquals(commandDigest?.hash, command.digest.hash);
  assertEquals(inputRootDigest?.hash, EMPTY.hash);
  assertEquals(new TextDecoder().decode(salt), "rebuild-cache/1");
});

Deno.test("actionOf() gives each bucket, key and layout an address of its own", () => {
  const addresses = [
    ["b", "k"],
    ["bk", ""],
    ["", "bk"],
    ["b", "kk"],
    ["b", "k\0"],
    ["b", "ключ 😀"],
  ].flatMap(([bucket, key]) =>
    LAYOUTS.map((layout) =>
      actionOf({ bucket: bucket!, key: key! }, layout).digest.hash
    )
  );
  assertEquals(new Set(addresses).size, addresses.length);
  // It must stay: else all that is there is lost.
  assertEquals(
    actionOf({ bucket: "default", key: "key" }, "files").digest.hash,
    "2cf390f32e73836929aef608d30e8a68ba3c5de2e3c4b0bc2a5f3c172ddb8576",
  );
});

Deno.test("decodeResult() gives what encodeResult() was given", () => {
  const signature = new Uint8Array(64).fill(7);
  for (const more of [{}, { signature }]) {
    const files: KeyResult = { tree: TREE!, packs: [], files: [], ...more };
    assertEquals(decodeResult(encodeResult(files, "files"), "files"), files);
    const packs = { ...files, packs: [A!, B!], files: [TREE!, A!] };
    assertEquals(decodeResult(encodeResult(packs, "packs"), "packs"), packs);
  }
});

Deno.test("encodeResult() writes what servers know and check", () => {
  const result: KeyResult = { tree: TREE!, packs: [], files: [] };
  const { outputDirectories, executionMetadata } = fromBinary(
    ActionResultSchema,
    encodeResult(result, "files"),
  );
  assertEquals(outputDirectories.length, 1);
  assertEquals(outputDirectories[0]!.path, "tree");
  assertEquals(outputDirectories[0]!.treeDigest?.hash, TREE!.hash);
  assertEquals(outputDirectories[0]!.isTopologicallySorted, true);
  assertEquals(executionMetadata?.worker, "rebuild-cache/1");
  const packed = { ...result, packs: [A!], files: [B!] };
  const { outputFiles } = fromBinary(
    ActionResultSchema,
    encodeResult(packed, "packs"),
  );
  assertEquals(outputFiles.map(({ path, digest }) => [path, digest?.hash]), [
    ["tree", TREE!.hash],
    ["pack/0", A!.hash],
    [`file/${B!.hash}`, B!.hash],
  ]);
});

Deno.test("decodeResult() takes what a server adds", () => {
  const signature = new Uint8Array(64).fill(7);
  const result: KeyResult = { tree: TREE!, packs: [], files: [], signature };
  const message = fromBinary(ActionResultSchema, encodeResult(result, "files"));
  message.executionMetadata!.worker = "127.0.0.1";
  const added = new Uint8Array([
    ...toBinary(ActionResultSchema, message),
    0x2a,
    1,
    9,
  ]);
  assertEquals(decodeResult(added, "files"), result);
});

Deno.test("decodeResult() refuses what is no entry", () => {
  const node = ({ hash, size }: { hash: string; size: number }) => ({
    hash,
    sizeBytes: BigInt(size),
  });
  const file = (path: string, it = A!) => ({ path, digest: node(it) });
  const directory = (path: string) => ({ path, treeDigest: node(TREE!) });
  const message = (shape: MessageInitShape<typeof ActionResultSchema>) =>
    toBinary(ActionResultSchema, create(ActionResultSchema, shape));
  const tree = file("tree", TREE);
  const wrong: Record<Layout, Uint8Array[]> = {
    files: [
      message({ outputDirectories: [directory("out")] }),
      message({ outputDirectories: [directory("tree"), directory("tree")] }),
      message({ outputDirectories: [directory("tree"), directory("more")] }),
      message({ outputDirectories: [{ path: "tree" }] }),
      message({ outputDirectories: [directory("tree")], outputFiles: [tree] }),
      message({ outputDirectories: [directory("tree")], exitCode: 1 }),
      message({ outputFiles: [tree] }),
    ],
    packs: [
      message({ outputFiles: [tree, tree] }),
      message({ outputFiles: [file("pack/0")] }),
      message({ outputFiles: [tree, file("pack/1")] }),
      message({ outputFiles: [tree, file("pack/0"), file("pack/00")] }),
      message({ outputFiles: [tree, file(`file/${B!.hash}`, A)] }),
      message({ outputFiles: [tree, file("../evil")] }),
      message({ outputFiles: [{ path: "tree", digest: { hash: "x" } }] }),
      message({ outputDirectories: [directory("tree")] }),
    ],
  };
  for (const layout of LAYOUTS) {
    const html = new TextEncoder().encode("<html>log in</html>");
    const noise = [];
    for (let round = 0; round < 100; round++) {
      noise.push(crypto.getRandomValues(new Uint8Array(300)));
    }
    for (const bytes of [...wrong[layout], html, new Uint8Array(), ...noise]) {
      const error = assertThrows(
        () => decodeResult(bytes, layout),
        RemoteError,
        undefined,
        bytes.toHex(),
      );
      assertEquals(error.kind, "wrong");
    }
  }
  assertNotEquals(wrong.files.length, 0);
});
