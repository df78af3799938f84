/** What is no tree, or an enemy's. */

import { assertEquals, assertThrows } from "@std/assert";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { RemoteError } from "../../lib/remote/engine.ts";
import { DirectorySchema, TreeSchema } from "../../lib/remote/messages_pb.ts";
import { encodeTree } from "../../lib/remote/tree.ts";
import { decodeTree } from "../../lib/remote/tree_decode.ts";
import { digestOf, listedFile } from "../support/trees.ts";

type Directory = MessageInitShape<typeof DirectorySchema>;

const { hash: HASH } = digestOf(new Uint8Array(4));
const DIGEST = { hash: HASH, sizeBytes: 4n };

function file(name: string, more: object = {}) {
  return { name, digest: DIGEST, ...more };
}

/** Below it, children by their digests. */
function child(name: string, directory: Directory) {
  const bytes = toBinary(DirectorySchema, create(DirectorySchema, directory));
  const { hash, size } = digestOf(bytes);
  return { name, digest: { hash, sizeBytes: BigInt(size) } };
}

function treeOf(root: Directory, children: Directory[] = []): Uint8Array {
  return toBinary(TreeSchema, create(TreeSchema, { root, children }));
}

function assertWrong(bytes: Uint8Array, what: string): RemoteError {
  const error = assertThrows(
    () => decodeTree(bytes),
    RemoteError,
    undefined,
    what,
  );
  assertEquals(error.kind, "wrong", what);
  assertEquals(error.message.includes("\n"), false);
  return error;
}

Deno.test("decodeTree() refuses names that lead out, or are none", () => {
  const names = ["", ".", "..", "../evil", "/etc/evil", "a/b", "a\0b", "/"];
  if (Deno.build.os === "windows") names.push("a\\b", "..\\evil");
  for (const name of names) {
    assertWrong(treeOf({ files: [file(name)] }), `file ${name}`);
    assertWrong(treeOf({ symlinks: [{ name, target: "x" }] }), `link ${name}`);
    const inner = { files: [file("f")] };
    const tree = treeOf({ directories: [child(name, inner)] }, [inner]);
    assertWrong(tree, `directory ${name}`);
  }
});

Deno.test("decodeTree() refuses a name that is twice in a directory", () => {
  const link = { name: "a", target: "/tmp" };
  const inner = { files: [file("f")] };
  const directory = child("a", inner);
  assertWrong(treeOf({ files: [file("a"), file("a")] }), "two files");
  assertWrong(treeOf({ symlinks: [link], files: [file("a")] }), "link, file");
  assertWrong(
    treeOf({ symlinks: [link], directories: [directory] }, [inner]),
    "link, directory",
  );
  assertWrong(
    treeOf({ directories: [directory, directory] }, [inner]),
    "two directories",
  );
});

Deno.test("decodeTree() refuses digests and sizes that are none", () => {
  const empty = digestOf(new Uint8Array()).hash;
  for (
    const digest of [
      undefined,
      { hash: "", sizeBytes: 4n },
      { hash: HASH.toUpperCase(), sizeBytes: 4n },
      { hash: `${HASH}\n`, sizeBytes: 4n },
      { hash: HASH.slice(1), sizeBytes: 4n },
      { hash: "../" + HASH.slice(3), sizeBytes: 4n },
      { hash: HASH, sizeBytes: -1n },
      { hash: HASH, sizeBytes: 2n ** 53n },
      { hash: HASH, sizeBytes: -(2n ** 63n) },
      { hash: HASH, sizeBytes: 0n },
      { hash: empty, sizeBytes: 1n },
    ]
  ) {
    const node = digest ? { name: "f", digest } : { name: "f" };
    assertWrong(treeOf({ files: [node] }), JSON.stringify(digest?.hash));
  }
  const other = file("g", { digest: { hash: HASH, sizeBytes: 5n } });
  assertWrong(treeOf({ files: [file("f"), other] }), "one digest, two sizes");
});

Deno.test("decodeTree() refuses links that lead nowhere, and takes absolute ones", () => {
  for (const target of ["", "a\0b"]) {
    assertWrong(treeOf({ symlinks: [{ name: "a", target }] }), target);
  }
  const { tree } = decodeTree(
    treeOf({ symlinks: [{ name: "a", target: "/etc/passwd" }] }),
  );
  assertEquals(tree[0]!.links, [["a", "/etc/passwd"]]);
});

Deno.test("decodeTree() refuses times that are none, and takes no setuid", () => {
  for (
    const mtime of [
      { seconds: 0n, nanos: -1 },
      { seconds: 0n, nanos: 1_000_000_000 },
      { seconds: 2n ** 60n, nanos: 0 },
    ]
  ) {
    const tree = treeOf({ files: [file("f", { nodeProperties: { mtime } })] });
    assertWrong(tree, String(mtime.seconds));
  }
  const unixMode = { value: 0o107777 };
  const { tree } = decodeTree(treeOf({
    files: [file("f", { nodeProperties: { unixMode } })],
    nodeProperties: { unixMode },
  }));
  assertEquals(tree[0]!.mode, 0o777);
  assertEquals(tree[0]!.files[0]![2], 0o777);
});

Deno.test("decodeTree() gives modes to files of others, who send none", () => {
  const { tree } = decodeTree(
    treeOf({ files: [file("a", { isExecutable: true }), file("b")] }),
  );
  assertEquals(tree[0]!.mode, 0o755);
  assertEquals(tree[0]!.files, [
    ["a", 4, 0o755, HASH, 0, 0],
    ["b", 4, 0o644, HASH, 0, 0],
  ]);
});

Deno.test("decodeTree() refuses what is missing, and what nothing names", () => {
  const inner = { files: [file("f")] };
  const other = { files: [file("g")] };
  assertWrong(treeOf({ directories: [child("a", inner)] }), "missing");
  assertWrong(treeOf({ directories: [child("a", inner)] }, [other]), "another");
  assertWrong(
    treeOf({ directories: [child("a", inner)] }, [inner, other]),
    "one too many",
  );
  assertWrong(
    treeOf({ directories: [child("a", inner)] }, [inner, inner]),
    "one twice",
  );
  assertWrong(new Uint8Array(), "no root");
  // Not one of them is hashed.
  const many = new Uint8Array(2 + (8 << 20)).fill(0x12, 2);
  for (let at = 3; at < many.length; at += 2) many[at] = 0;
  many.set([0x0a, 0]);
  assertWrong(many, "four million directories that are empty");
});

Deno.test("decodeTree() counts before it makes: 6 KB claim 2^40 files", () => {
  let last: Directory = { files: [file("f")] };
  const all = [last];
  for (let level = 0; level < 40; level++) {
    last = { directories: [child("a", last), child("b", last)] };
    all.unshift(last);
  }
  const [root, ...children] = all;
  const bytes = treeOf(root!, children);
  assertEquals(bytes.length < 8000, true);
  const error = assertWrong(bytes, "bomb");
  assertEquals(error.message.includes("5000000 entries"), true);
});

Deno.test("decodeTree() counts the characters of paths, too", () => {
  let last: Directory = { files: [file("f")] };
  const all = [last];
  // 2^17 directories in directories whose names are long: 3 GB of paths.
  for (let level = 0; level < 17; level++) {
    const long = String(level).padEnd(2000, "x");
    last = { directories: [child(`${long}a`, last), child(`${long}b`, last)] };
    all.unshift(last);
  }
  assertWrong(treeOf(all[0]!, all.slice(1)), "paths");
});

Deno.test("decodeTree() refuses more than 1000 directories in each other", () => {
  const deep = (levels: number) => {
    let last: Directory = { files: [file("f")] };
    const all = [last];
    for (let level = 0; level < levels; level++) {
      last = { directories: [child("d", last)] };
      all.unshift(last);
    }
    return treeOf(all[0]!, all.slice(1));
  };
  assertEquals(decodeTree(deep(1000)).tree.length, 1001);
  assertWrong(deep(1001), "1001");
  assertWrong(deep(20_000), "20000");
});

Deno.test("decodeTree() refuses a file that is none", () => {
  const nodeProperties = { properties: [{ name: "kind", value: "file" }] };
  const inner = { files: [file("f")] };
  const directories = [child("d", inner)];
  for (
    const tree of [
      treeOf({ nodeProperties }),
      treeOf({ nodeProperties, files: [file("other")] }),
      treeOf({ nodeProperties, files: [file("tree"), file("more")] }),
      treeOf({ nodeProperties, files: [file("tree")], directories }, [inner]),
      treeOf({
        nodeProperties,
        files: [file("tree")],
        symlinks: [{ name: "a", target: "b" }],
      }),
    ]
  ) assertWrong(tree, "a file");
});

Deno.test("decodeTree() refuses hard links of what is not one file", () => {
  const link = (name: string, value: string, more: object = {}) =>
    file(name, {
      nodeProperties: { properties: [{ name: "link", value }], ...more },
    });
  for (const value of ["", "-1", "1.5", "01", "x", "9".repeat(20), "1e3"]) {
    assertWrong(treeOf({ files: [link("a", value)] }), `link ${value}`);
  }
  const unixMode = { value: 0o600 };
  assertWrong(
    treeOf({ files: [link("a", "1"), link("b", "1", { unixMode })] }),
    "two modes",
  );
});

Deno.test("decodeTree() refuses garbage, HTML, and what is cut anywhere", () => {
  const html = new TextEncoder().encode("<html><body>log in</body></html>");
  assertWrong(html, "HTML");
  const { bytes } = encodeTree([{
    path: "",
    mode: 0o755,
    files: [listedFile("a", "content"), listedFile("b", "another")],
    links: [["l", "a"]],
    directories: [],
  }]);
  for (let length = 0; length < bytes.length; length++) {
    assertWrong(bytes.slice(0, length), `${length} bytes`);
  }
  // Whatever a bit does, it is an error of ours, or a tree with decent names.
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const turned = bytes.slice();
    turned[bit >> 3]! ^= 1 << (bit & 7);
    try {
      for (const { files } of decodeTree(turned).tree) {
        for (const [name] of files) {
          assertEquals(/^\.{0,2}$|\//.test(name), false);
        }
      }
    } catch (error) {
      assertEquals(
        error instanceof RemoteError && error.kind,
        "wrong",
        `${bit}`,
      );
    }
  }
  for (let round = 0; round < 200; round++) {
    const noise = crypto.getRandomValues(new Uint8Array(300));
    try {
      decodeTree(noise);
    } catch (error) {
      assertEquals(error instanceof RemoteError && error.kind, "wrong");
    }
  }
});

Deno.test("decodeTree() refuses names that are not UTF-8", () => {
  const bytes = treeOf({ files: [file("name")] });
  const at = bytes.findIndex((_, at) =>
    new TextDecoder().decode(bytes.subarray(at, at + 4)) === "name"
  );
  bytes[at] = 0xff;
  assertWrong(bytes, "not UTF-8");
  // Not taken for a mark of the encoding, and lost.
  const { tree } = decodeTree(treeOf({ files: [file("\ufeffname")] }));
  assertEquals(tree[0]!.files[0]![0], "\ufeffname");
});
