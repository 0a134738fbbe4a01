/** Ends an example process together with the process that started it. */
import { fstatSync } from "node:fs";

/**
 * Calls `stop` on SIGTERM, on SIGINT, and when standard input closes if it is a pipe from whoever started the process. Started
 * from a terminal, by `&`, a container or a service manager there is no such pipe, and only signals end it.
 */
export function stopWithStarter(stop: () => void): void {
  process.once("SIGTERM", stop).once("SIGINT", stop);
  if (isPipe(0)) process.stdin.resume().once("end", stop).once("error", stop);
}

function isPipe(descriptor: number): boolean {
  try {
    const kind = fstatSync(descriptor);
    return kind.isFIFO() || kind.isSocket();
  } catch {
    return false; // closed
  }
}
