/** What the demo claims is checked in the run itself; a claim that does not hold ends it with exit code 1. */
export class DemoFailure extends Error {}

export function check(holds: boolean, claim: string): asserts holds {
  if (!holds) throw new DemoFailure(claim);
}

export function checkEqual(actual: unknown, expected: unknown, claim: string): void {
  const [is, due] = [JSON.stringify(actual), JSON.stringify(expected)];
  check(is === due, `${claim}: expected ${due}, found ${is}`);
}
