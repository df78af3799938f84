/**
 * Somebody exchanges directories with symbolic links to a victim's directory while root,
 * or another member of their group, clears, links and prunes there. Nothing of the
 * victim's may be read, written, deleted, or given other access. `REBUILD_CACHE_STRESS=1`
 * runs them at full size.
 *
 * Each race goes with FFI, where directories are held open, and without, where an error is
 * right, too, as long as nothing outside was touched.
 */

import { cliCommand, must, type Peer, run } from "../support/command.ts";
import { mountTest } from "../support/mounts.ts";
import { type Need, test } from "../support/needs.ts";
import {
  type Arena,
  type Attack,
  type Chance,
  drive,
  type Ffi,
  type Try,
  type Who,
} from "../support/race.ts";
import { until } from "../support/until.ts";

const WHO: Record<Who, string> = {
  root: "root in another user's directory",
  member: "a member of a group in its directory",
};

const WITH: Record<Ffi, string> = { "ffi": "with FFI", "no-ffi": "without" };

/** One race, for everybody, with and without FFI. */
function race(
  what: string,
  prepare: (arena: Arena, chance: Chance) => Try | Promise<Try>,
  everybody: readonly Who[] = ["root", "member"],
  needs: readonly Need[] = [],
): void {
  for (const who of everybody) {
    for (const ffi of ["ffi", "no-ffi"] as const) {
      const name = `${what} touches nothing outside when directories are ` +
        `exchanged with links, as ${WHO[who]}, ${WITH[ffi]}`;
      test(
        name,
        ["linux", "root", "cc", ...needs],
        () => drive(who, ffi, prepare),
      );
    }
  }
}

/** Enough for a removal in parallel. */
const MANY = 70;

/** All but a cache's root, which more than one call names. */
const INSIDE = "[!r]*";

/** How a tree is linked. */
const MODES = ["copy", "hardlink", "auto"] as const;

race("clearCache(), its fast pass,", (arena, chance) => {
  const dir = arena.tree(`${arena.place}/cache`, MANY);
  const events = chance.of(["d", "o", "m"]);
  const attack = { match: "cache.stale-*", events };
  return { attack, run: [["clear", dir]] };
});

race("clearCache(), its parent exchanged,", (arena, chance) => {
  const parent = arena.tree(`${arena.place}/parent`, 0);
  const dir = arena.tree(`${parent}/cache`, MANY);
  const events = chance.of(["d", "o", "m"]);
  const attack = { match: "cache.stale-*", events, above: true };
  return { attack, run: [["clear", dir]] };
});

race("clearCache(), its second pass,", (arena, chance) => {
  const dir = arena.tree(`${arena.place}/cache`, 40);
  // What must be opened first, and what is put there meanwhile.
  arena.tree(`${dir}/closed`, 0, 0);
  const match = chance.of(["cache.stale-*", "[0-9]*"]);
  const attack = { match, events: chance.of(["d", "od"]), litter: 3 };
  return { attack, run: [["clear", dir]] };
});

/** A directory that stays where it is, since its parent or a mount forbids a rename. */
function inPlace(dir: string, chance: Chance): Attack {
  const match = chance.of([".stale-*", "[0-9]*"]);
  return { match, events: chance.of(["c", "m", "o", "d", "od"]), watch: [dir] };
}

race("clearCache() in place", (arena, chance) => {
  const dir = arena.tree(`${arena.place}/cache`, 40);
  arena.close();
  return {
    attack: inPlace(dir, chance),
    run: [["clear", dir, { lock: false }]],
  };
}, ["member"]);

for (const ffi of ["ffi", "no-ffi"] as const) {
  const name = `clearCache() of a mount point touches nothing outside when ` +
    `directories are exchanged with links, as ${WHO.root}, ${WITH[ffi]}`;
  mountTest(
    import.meta.url,
    name,
    ["cc"],
    () =>
      drive("root", ffi, async (arena, chance) => {
        const dir = arena.tree(`${arena.place}/cache`, 40);
        await must("mount", "--bind", dir, dir);
        return {
          attack: inPlace(dir, chance),
          run: [["clear", dir]],
          after: () => must("umount", "--lazy", dir),
        };
      }),
  );
}

race(
  "rebuild-cache --background",
  (arena, chance) => {
    const dir = arena.tree(`${arena.place}/cache`, MANY);
    const events = chance.of(["d", "o", "m"]);
    return {
      attack: { match: "cache.stale-*", events },
      async run(attacker, deny) {
        const command = cliCommand(["--dir", dir, "--background"]);
        command.splice(2, 0, ...deny);
        const { code } = await run(command);
        await until("the end of the removal", () => isQuiet(arena, attacker));
        return code === 0;
      },
    };
  },
  ["root"],
  ["deno run"],
);

/** Whether no process but the attacker works in an arena. */
function isQuiet({ place }: Arena, { pid }: Peer): boolean {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name) || name === `${pid}`) continue;
    try {
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (command.includes(place)) return false;
    } catch {
      // It has ended.
    }
  }
  return true;
}

race("sweepAsides()", (arena, chance) => {
  const aside = `${arena.place}/cache.stale-1-0123456789ab`;
  arena.tree(aside, MANY);
  if (chance.of([true, false])) arena.own(aside);
  const attack = { match: "cache.stale-*", events: chance.of(["d", "o"]) };
  return { attack, run: [["sweep", `${arena.place}/cache`]] };
});

race("clearCache(), sweeping a staging,", (arena, chance) => {
  const staging = arena.tree(
    `${arena.place}/cache.partial-1-0123456789ab`,
    0,
  );
  arena.tree(`${staging}/tree`, MANY);
  Deno.writeTextFileSync(`${staging}/.lock`, "");
  arena.own(`${staging}/.lock`);
  if (chance.of([true, false])) arena.own(staging);
  const events = chance.of(["o", "m", "d", "omd"]);
  const attack = { match: "cache.[ps]*", events };
  return { attack, run: [["clear", `${arena.place}/cache`]] };
});

race("clearCache({ recreate: true })", (arena, chance) => {
  const dir = arena.tree(`${arena.place}/cache`, 2, 0o2777);
  const lure = chance.of(["", "/file"]);
  // Made beside as a staging, and renamed.
  const match = chance.of(["cache", "cache.p*"]);
  const attack = { match, events: "cam", lure, skip: 0 };
  return { attack, run: [["clear", dir, { recreate: true }]] };
});

race("linkTree({ ifExists: 'merge' })", (arena, chance) => {
  const src = arena.tree(`${arena.safe}/src`, 12);
  const dst = arena.tree(`${arena.place}/dst`, 4);
  const mode = chance.of(MODES);
  return {
    attack: {
      match: chance.of(["[0-9]*", "dst"]),
      events: chance.of(["c", "o", "m"]),
    },
    run: [["link", src, dst, { ifExists: "merge", mode }]],
  };
});

race("linkTree({ ifExists: 'replace' })", (arena, chance) => {
  const src = arena.tree(`${arena.safe}/src`, 12);
  const dst = arena.tree(`${arena.place}/dst`, MANY);
  const mode = chance.of(MODES);
  return {
    attack: {
      match: chance.of(["dst.*", "*", "dst", "[0-9]*"]),
      events: chance.of(["c", "m", "o", "d"]),
    },
    run: [["link", src, dst, { ifExists: "replace", mode }]],
  };
});

race("linkTree(), resetting files,", (arena, chance) => {
  const src = arena.tree(`${arena.place}/src`, 12);
  const options = { mode: "hardlink", maxLinks: 1 };
  return {
    attack: {
      match: chance.of(["[0-9]*", "src"]),
      events: chance.of(["c", "o", "m"]),
    },
    run: [["link", src, `${arena.safe}/dst`, options]],
  };
});

race("linkTree(), its source,", (arena, chance) => {
  const src = arena.tree(`${arena.place}/src`, 12);
  const attack = { match: chance.of(["[0-9]*", "src"]), events: "o" };
  const mode = chance.of(MODES);
  return { attack, run: [["link", src, `${arena.place}/dst`, { mode }]] };
});

race("Cache.put()", (arena, chance) => {
  const src = arena.tree(`${arena.place}/src`, 12);
  const root = arena.shared(`${arena.place}/root`);
  const match = chance.of(["[0-9]*", "src", INSIDE]);
  const attack = { match, events: chance.of(["o", "c"]) };
  return { attack, run: [["put", root, "key", src]] };
});

race("Cache.get(), and linking what it got,", (arena, chance) => {
  const src = arena.tree(`${arena.safe}/src`, 12);
  const root = arena.shared(`${arena.place}/root`);
  const match = chance.of(["[0-9]*", "tree", INSIDE]);
  const attack = { match, events: chance.of(["o", "oc"]) };
  const mode = chance.of(MODES);
  return {
    before: [["put", root, "key", src]],
    attack,
    run: [["get", root, "key", `${arena.place}/dst`, { mode }]],
  };
});

race("Cache.prune()", (arena, chance) => {
  const src = arena.tree(`${arena.safe}/src`, 70);
  const root = arena.shared(`${arena.place}/root`);
  const match = chance.of(["*.gone", "*", "tree"]);
  const attack = { match, events: chance.of(["d", "o", "m"]), watch: [root] };
  return {
    before: [["put", root, "key", src]],
    attack,
    run: [["prune", root, { maxEntries: 0 }]],
  };
});
