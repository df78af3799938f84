// Every operation, with an error or a kill at its calls, one at a time: what was there
// stands, or what should be there does, or nothing; the source is as it was; the error
// says what happened; and the next run leaves nothing. By default some hundred runs,
// by chance; REBUILD_CACHE_STRESS=1 goes through all of them. Both say how many runs of
// each kind there were.
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { CASES, CLONE, inPlace } from "./cases.ts";
import { HttpCache } from "../support/http_cache.ts";
import { makeFixtures, pushSource } from "./fixtures.ts";
import { torture } from "./runner.ts";

const NEEDS = ["linux", "strace", "getfattr", "setfattr"];

const GROUPS: [name: string, ops: string[]][] = [
  ["clearCache() keeps or takes all, and rebuildCache() too,", [
    "clear",
    "rebuild",
  ]],
  ["linkTree() gives the old or the new", ["link"]],
  ["linkFile() gives the old or the new", ["file"]],
  ["openCache() loses nothing and leaves nothing", ["put", "get", "ensure"]],
  ["Cache.pull() and push() show nothing half", ["pull", "push"]],
  ["prune() and verify() harm nothing", ["prune", "verify"]],
];

for (const [name, ops] of GROUPS) {
  test(`${name} when any call fails or is the last`, NEEDS, async () => {
    await using dir = TempDir.make();
    await using servers = new AsyncDisposableStack();
    await torture(
      CASES.filter(({ op }) => ops.includes(op)),
      async ({ name, remote }) => {
        const at = dir.at(name.replaceAll(" ", "-"));
        Deno.mkdirSync(at);
        if (remote) {
          Deno.mkdirSync(`${at}.remote`);
          const server = servers.use(new HttpCache(`${at}.remote`));
          Deno.writeTextFileSync(`${at}.url`, server.url);
        }
        await makeFixtures(at);
        if (remote) await pushSource(at);
        return at;
      },
    );
  });
}

mountTest(
  import.meta.url,
  "linkTree() gives all or nothing when any call of a clone fails or is the last",
  [...NEEDS, ...TOOLS.xfs],
  async (dir) => {
    await torture(CLONE, async () => {
      const at = await makeFileSystem(dir, "xfs");
      await makeFixtures(at);
      return at;
    });
  },
);

mountTest(
  import.meta.url,
  "clearCache() takes each entry or leaves it when any call fails or is the last, in place",
  NEEDS,
  async (dir) => {
    await torture([inPlace], async () => {
      const mount = await makeFileSystem(dir, "tmpfs");
      const at = dir.at("in-place");
      Deno.mkdirSync(at);
      await makeFixtures(at);
      Deno.mkdirSync(`${at}/there`, { recursive: true });
      const { must } = await import("../support/command.ts");
      await must("mount", "--move", mount, `${at}/there`);
      return at;
    });
  },
);
