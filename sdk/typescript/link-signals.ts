/** One signal that aborts with the first of several, and lets go of them when it is not needed any more: they may live as long as the process. */
export interface LinkedSignal extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
}

export function linkSignals(...sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const unlink: (() => void)[] = [];
  const free = (): void => unlink.splice(0).forEach((one) => void one());
  const abort = (reason: unknown): void => {
    controller.abort(reason);
    free();
  };
  for (const source of sources) {
    if (!source) continue;
    const onAbort = (): void => abort(source.reason);
    if (source.aborted) onAbort();
    source.addEventListener("abort", onAbort, { once: true });
    unlink.push(() => source.removeEventListener("abort", onAbort));
  }
  return { signal: controller.signal, abort, [Symbol.dispose]: free };
}
