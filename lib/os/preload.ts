/**
 * Opens the C library when the library's front door is imported, so that no test of a
 * program that uses us finds it opened in its middle (Deno's resource sanitizer).
 *
 * @module
 */

import { callsElsewhere, hasLibc, placeCalls } from "./libc.ts";

if (hasLibc()) {
  placeCalls();
  callsElsewhere();
}
