import { type Asked, cacheJob, clearJob } from "./faulty_cache_jobs.ts";
import type { Job } from "./faulty_job.ts";
import { fileJob, linkJob, overJob, type Where } from "./faulty_link_jobs.ts";

const ensure = (root: string, source: string, target: string) => [
  ...["ensure", "key", target, "--dir", root, "--"],
  ...["cp", "-R", "--preserve=mode,links", `${source}/.`, "{}"],
];
const MODES = ["copy", "auto", "hardlink", "symlink"];
const WHERE: Where[] = ["source", "destination", "both"];

/** All that is tried with each kind of fault. */
export const JOBS: readonly Job[] = [
  ...MODES.flatMap((mode) => WHERE.map((where) => linkJob(mode, where))),
  ...WHERE.map((where) => overJob("merge", where)),
  ...WHERE.map((where) => overJob("replace", where)),
  ...WHERE.map(fileJob),
  clearJob([]),
  clearJob(["--recreate"]),
  ...([
    {
      name: "put, a new key",
      args: (root, source) => ["put", "key", source, "--dir", root],
      had: false,
      puts: true,
    },
    {
      name: "put, a key that is there",
      args: (root, source) => ["put", "key", source, "--dir", root],
      had: true,
      puts: true,
    },
    {
      name: "get",
      args: (root, _, target) => ["get", "key", target, "--dir", root],
      had: true,
      gets: true,
    },
    {
      name: "ensure, a miss",
      args: ensure,
      had: false,
      puts: true,
      gets: true,
    },
    { name: "ensure, a hit", args: ensure, had: true, gets: true },
    {
      name: "prune",
      args: (root) => ["prune", "--dir", root, "--max-entries", "5"],
      had: true,
    },
    { name: "verify", args: (root) => ["verify", "--dir", root], had: true },
    {
      name: "ls",
      args: (root) => ["ls", "--dir", root],
      had: true,
      says: "key",
    },
  ] satisfies Asked[]).map(cacheJob),
];
