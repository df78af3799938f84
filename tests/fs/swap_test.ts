import { assertEquals, assertThrows } from "@std/assert";
import { openDirectory } from "../../lib/fs/open.ts";
import { PathDirectory } from "../../lib/fs/paths.ts";
import { parseSiblingName } from "../../lib/fs/names.ts";
import { swap, swapKnown } from "../../lib/fs/swap.ts";
import { hasLibc } from "../../lib/os/libc.ts";
import { namesIn, TempDir } from "../support/temp_dir.ts";

for (
  const [kind, open] of [
    ["held open", openDirectory],
    ["known by paths", (path: string) => PathDirectory.at(path)],
  ] as const
) {
  Deno.test(`swap() puts a tree in the place of another when directories are ${kind}`, async () => {
    await using dir = TempDir.make();
    dir.write({ staging: { tree: { new: "" } }, cache: { old: "" } });
    using parent = open(dir.path);
    using staging = open(dir.at("staging"));
    const tree = { parent: staging, name: "tree" };
    const { old, exchanged } = swap(tree, { parent, name: "cache" });
    assertEquals(namesIn(dir.at("cache")), ["new"]);
    assertEquals(exchanged, hasLibc() && open === openDirectory);
    using was = old!.parent.open(old!.name);
    assertEquals(was.list().map(({ name }) => name), ["old"]);
    if (!exchanged) {
      assertEquals(parseSiblingName(old!.name)?.kind, "stale");
    }
  });

  Deno.test(`swap() puts a tree where nothing stands when directories are ${kind}`, async () => {
    await using dir = TempDir.make();
    dir.write({ tree: { new: "" } });
    using parent = open(dir.path);
    const result = swap({ parent, name: "tree" }, { parent, name: "cache" });
    assertEquals(result, { old: undefined, exchanged: false });
    assertEquals(namesIn(dir.path), ["cache"]);
  });

  Deno.test(`swap() leaves the old tree when there is no new one, and directories are ${kind}`, async () => {
    await using dir = TempDir.make();
    dir.write({ cache: { old: "" } });
    using parent = open(dir.path);
    assertThrows(() =>
      swap({ parent, name: "tree" }, { parent, name: "cache" })
    );
    assertEquals(namesIn(dir.path), ["cache"]);
    assertEquals(namesIn(dir.at("cache")), ["old"]);
  });

  for (
    const [what, isKnown] of [
      ["is not what may be replaced", () => false],
      ["can't be looked at", () => {
        throw new Error("refused");
      }],
    ] as const
  ) {
    Deno.test(`swapKnown() puts both back when what stood there ${what}, and directories are ${kind}`, async () => {
      await using dir = TempDir.make();
      dir.write({ staging: { tree: "new" }, cache: "old" });
      using parent = open(dir.path);
      using staging = open(dir.at("staging"));
      const tree = { parent: staging, name: "tree" };
      const place = { parent, name: "cache" };
      const refusal = () => new Error("refused");
      assertThrows(
        () => swapKnown(tree, place, isKnown, refusal),
        Error,
        "refused",
      );
      assertEquals(Deno.readTextFileSync(dir.at("cache")), "old");
      assertEquals(Deno.readTextFileSync(dir.at("staging", "tree")), "new");
      assertEquals(namesIn(dir.path), ["cache", "staging"]);
    });
  }
}
