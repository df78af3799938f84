import { assertEquals, assertThrows } from "@std/assert";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ListedDirectory, ListedFile } from "../../lib/link/listing.ts";
import { DirectorySchema, TreeSchema } from "../../lib/remote/messages_pb.ts";
import {
  byCodePoint,
  encodeTree,
  UnsendableTree,
} from "../../lib/remote/tree.ts";
import { decodeTree } from "../../lib/remote/tree_decode.ts";
import { digestOf, listedFile, sortedTree } from "../support/trees.ts";

const EMPTY: Pick<ListedDirectory, "files" | "links" | "directories"> = {
  files: [],
  links: [],
  directories: [],
};

/** All kinds of what can be in a tree. */
const TREE: ListedDirectory[] = [
  {
    path: "",
    mode: 0o750,
    files: [
      listedFile("b", "content of b", 0o4755),
      ["old", 3, 0o600, digestOf(new Uint8Array(3)).hash, -2_000_000_000, 5],
      listedFile("a", ""),
      listedFile("é 😀 \u{ff5e}", "x".repeat(3000)),
    ],
    links: [["link", "../anywhere"], ["absolute", "/etc/passwd"]],
    directories: ["z", "same", "a same", "\u{1f600}"],
  },
  { ...EMPTY, path: "/z", mode: 0, directories: ["y"] },
  { path: "/z/y", mode: 0o777, ...EMPTY, files: [listedFile("b", "of b, y")] },
  { path: "/same", mode: 0o755, ...EMPTY, files: [listedFile("f", "f")] },
  { path: "/a same", mode: 0o755, ...EMPTY, files: [listedFile("f", "f")] },
  { path: "/\u{1f600}", mode: 0o2755, ...EMPTY },
];

/** As it comes back: without setuid, setgid and sticky. */
function masked(tree: readonly ListedDirectory[]): ListedDirectory[] {
  return tree.map(({ mode, files, ...rest }) => ({
    ...rest,
    mode: mode & 0o777,
    files: files.map(([name, size, mode, ...more]) =>
      [name, size, mode & 0o777, ...more] as const
    ),
  }));
}

Deno.test("encodeTree() keeps all that decodeTree() gives back", () => {
  const encoded = encodeTree(TREE);
  const decoded = decodeTree(encoded.bytes);
  assertEquals(sortedTree(decoded.tree), sortedTree(masked(TREE)));
  assertEquals(decoded.contents, encoded.contents);
  assertEquals(decoded.hasEmpty, true);
  const paths = decoded.tree.map(({ path }) => path!);
  for (const path of paths.slice(1)) {
    const parent = path.slice(0, path.lastIndexOf("/"));
    assertEquals(paths.indexOf(parent) < paths.indexOf(path), true, path);
  }
});

Deno.test("encodeTree() gives the same bytes whatever the order of names", () => {
  const { bytes, digest } = encodeTree(TREE);
  const turned = TREE.map(({ files, links, directories, ...rest }) => ({
    ...rest,
    files: files.toReversed(),
    links: links.toReversed(),
    directories: directories.toReversed(),
  }));
  assertEquals(encodeTree(turned).bytes, bytes);
  assertEquals(digestOf(bytes).hash, digest.hash);
  assertEquals(encodeTree(decodeTree(bytes).tree).bytes, bytes);
});

Deno.test("encodeTree() writes what others read, sorted, each directory once, parents first", () => {
  const { bytes } = encodeTree(TREE);
  const { root, children } = fromBinary(TreeSchema, bytes);
  assertEquals(children.length, 4); // two are the same
  const names = root!.directories.map(({ name }) => name);
  assertEquals(names, ["a same", "same", "z", "\u{1f600}"]);
  assertEquals(
    root!.files.map(({ name, isExecutable, nodeProperties }) => [
      name,
      isExecutable,
      nodeProperties?.unixMode?.value,
      nodeProperties?.mtime?.seconds,
      nodeProperties?.mtime?.nanos,
    ]),
    [
      ["a", false, 0o644, 1_700_000_000n, 123_456_789],
      ["b", true, 0o755, 1_700_000_000n, 123_456_789],
      ["old", false, 0o600, -2_000_000_000n, 5],
      ["é 😀 \u{ff5e}", false, 0o644, 1_700_000_000n, 123_456_789],
    ],
  );
  // Written canonically: another encoder gives the same bytes, so digests are the same.
  const again = toBinary(TreeSchema, fromBinary(TreeSchema, bytes));
  assertEquals(again, bytes);
  const hashes = children.map((it) => digestOf(toBinary(DirectorySchema, it)));
  const seen = new Set<string>();
  for (const directory of [root!, ...children].reverse()) {
    for (const { digest } of directory.directories) {
      assertEquals(
        seen.has(digest!.hash),
        true,
        "a child is before its parent",
      );
    }
    seen.add(digestOf(toBinary(DirectorySchema, directory)).hash);
  }
  assertEquals(new Set(hashes.map(({ hash }) => hash)).size, hashes.length);
});

Deno.test("encodeTree() keeps a tree that is a file", () => {
  const [, ...rest] = listedFile("", "content", 0o755);
  const files = [["", ...rest] as ListedFile];
  const tree = [{ ...EMPTY, path: undefined, mode: 0, files }];
  const { bytes, contents } = encodeTree(tree);
  assertEquals(decodeTree(bytes).tree, tree);
  assertEquals(contents.length, 1);
  const { root } = fromBinary(TreeSchema, bytes);
  assertEquals(root!.files[0]!.name, "tree");
});

Deno.test("encodeTree() keeps a tree without anything", () => {
  const tree = [{ ...EMPTY, path: "", mode: 0o700 }];
  const decoded = decodeTree(encodeTree(tree).bytes);
  assertEquals(decoded, { tree, contents: [], hasEmpty: false });
});

Deno.test("encodeTree() keeps which files are one file with several names", () => {
  const grouped = (name: string, group: number) =>
    [...listedFile(name, "content"), group] as unknown as ListedFile;
  const tree: ListedDirectory[] = [
    {
      ...EMPTY,
      path: "",
      mode: 0o755,
      files: [grouped("a", 0), grouped("b", 0), grouped("c", 7)],
      directories: ["d"],
    },
    { ...EMPTY, path: "/d", mode: 0o755, files: [grouped("e", 7)] },
  ];
  assertEquals(decodeTree(encodeTree(tree).bytes).tree, tree);
});

Deno.test("encodeTree() names what is not UTF-8, and sends nothing of it", () => {
  const bad = "caf\udce9";
  for (
    const [tree, path] of [
      [{ files: [listedFile(bad, "")] }, bad],
      [{ links: [[bad, "to"]] }, bad],
      [{ links: [["link", bad]] }, "link\udc80"],
      [{ directories: [bad] }, bad],
    ] as const
  ) {
    const line = { ...EMPTY, path: "/in", mode: 0o755, ...tree };
    const root = { ...EMPTY, path: "", mode: 0o755, directories: ["in"] };
    const error = assertThrows(() => encodeTree([root, line]), UnsendableTree);
    assertEquals(error.paths, [`in/${path}`]);
    assertEquals(error.message.isWellFormed(), true);
  }
});

Deno.test("encodeTree() refuses what decodeTree() would refuse for its depth", () => {
  const deep = (levels: number) =>
    Array.from({ length: levels + 1 }, (_, level) => ({
      ...EMPTY,
      path: "/d".repeat(level),
      mode: 0o755,
      directories: level < levels ? ["d"] : [],
    }));
  assertEquals(decodeTree(encodeTree(deep(999)).bytes).tree.length, 1000);
  assertThrows(() => encodeTree(deep(1001)), UnsendableTree, "too deep");
});

Deno.test("byCodePoint() sorts as UTF-8 does", () => {
  const names = [
    "",
    "a",
    "ab",
    "b",
    "é",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "😀",
    "😀a",
    "😁",
  ];
  const utf8 = (text: string) => new TextEncoder().encode(text).toHex();
  for (const a of names) {
    for (const b of names) {
      const wanted = utf8(a) < utf8(b) ? -1 : utf8(a) > utf8(b) ? 1 : 0;
      assertEquals(Math.sign(byCodePoint(a, b)), wanted, `${a} ${b}`);
    }
  }
});
