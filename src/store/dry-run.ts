/** Changes that are tried and taken back: what would have happened, with every check the database makes. */
import type { EntityManager } from "@mikro-orm/postgresql";

class DryRun extends Error {
  readonly result: unknown;

  constructor(result: unknown) {
    super("a dry run ends by taking everything back");
    this.result = result;
  }
}

/** `work` in one transaction, which is rolled back behind the result when `dryRun` is set. */
export async function inTransaction<T>(em: EntityManager, dryRun: boolean, work: (em: EntityManager) => Promise<T>): Promise<T> {
  try {
    return await em.transactional(async (inner) => {
      const result = await work(inner);
      if (!dryRun) return result;
      await inner.flush();
      throw new DryRun(result);
    });
  } catch (error) {
    if (error instanceof DryRun) return error.result as T;
    throw error;
  }
}
