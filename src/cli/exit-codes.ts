/** What a script learns from the end of the command. */
import { Code } from "@connectrpc/connect";

export const exit = {
  ok: 0,
  /** The execution did not end COMPLETED; or what was asked for is refused in the present state, or failed. */
  failed: 1,
  /** The command line or what it sends is wrong: sending it again is no use. */
  usage: 2,
  notFound: 3,
  auth: 4,
  /** Nobody answered, or not now: trying again later may help. */
  unavailable: 5,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

export function exitCodeOf(code: Code): number {
  switch (code) {
    case Code.NotFound:
      return exit.notFound;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exit.auth;
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.ResourceExhausted:
      return exit.unavailable;
    case Code.InvalidArgument:
    case Code.OutOfRange:
    case Code.Unimplemented:
      return exit.usage;
    case Code.Canceled:
      return exit.interrupted;
    default:
      return exit.failed;
  }
}
