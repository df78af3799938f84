import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CacheError } from "../../lib/error.ts";
import { openDirectory } from "../../lib/fs/open.ts";
import { PathDirectory } from "../../lib/fs/paths.ts";
import type { Directory } from "../../lib/fs/directory.ts";
import { parseSiblingName } from "../../lib/fs/names.ts";
import { NotPutBack, swap, swapKnown } from "../../lib/fs/swap.ts";
import { rebuildCache } from "../../lib/rebuild/rebuild.ts";
import { hasLibc } from "../../lib/os/libc.ts";
import { must } from "../support/command.ts";
import { mountTest } from "../support/mounts.ts";
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

/** Somebody makes the directory again as soon as it is renamed aside. */
class Haunted extends PathDirectory {
  override rename(name: string, to: Directory, newName: string): void {
    super.rename(name, to, newName);
    if (name === "cache") this.make("cache");
    if (name === "cache") this.openFile("cache/theirs", "create").close();
  }
}

Deno.test("swap() keeps what it can't put back, by a name that nobody sweeps", async () => {
  await using dir = TempDir.make();
  dir.write({ staging: { tree: { new: "" } }, cache: { old: "" } });
  using parent = new Haunted(dir.path, true);
  using staging = PathDirectory.at(dir.at("staging"));
  const error = assertThrows(
    () => swap({ parent: staging, name: "tree" }, { parent, name: "cache" }),
    NotPutBack,
  );
  const names = namesIn(dir.path);
  const kept = names.find((it) => parseSiblingName(it)?.kind === "kept")!;
  assertEquals(names, ["cache", kept, "staging"]);
  assertEquals(error.message.includes(dir.at(kept)), true, error.message);
  await rebuildCache(dir.at("cache"), (at) => {
    Deno.writeTextFileSync(`${at}/new`, "");
  });
  assertEquals(namesIn(dir.at(kept)), ["old"]);
});

mountTest(
  import.meta.url,
  "swapKnown() keeps what it can't put back by a name that nobody sweeps",
  [],
  async (dir) => {
    dir.write({ staging: { tree: { new: "" } }, cache: { old: "" } });
    using parent = openDirectory(dir.path);
    using staging = openDirectory(dir.at("staging"));
    const cache = dir.at("cache");
    const error = assertThrows(
      () =>
        swapKnown(
          { parent: staging, name: "tree" },
          { parent, name: "cache" },
          () => {
            // What was put there can't be moved any more.
            const args = ["--bind", cache, cache];
            const { success } = new Deno.Command("mount", { args })
              .outputSync();
            assert(success);
            return false;
          },
          () => new CacheError("refused", cache, "refused"),
        ),
      NotPutBack,
    );
    await must("umount", cache);
    const [kept = ""] = namesIn(dir.path).filter((it) =>
      parseSiblingName(it)?.kind === "kept"
    );
    assertEquals(namesIn(dir.at(kept)), ["old"]);
    assertStringIncludes(error.message, kept);
    assertEquals(namesIn(cache), ["new"]);
  },
);
