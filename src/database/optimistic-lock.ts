import { LockMode, OptimisticLockError } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';

/**
 * Returns whether an entity still has the version that the caller has read, by the entity's version property. Returns
 * true when no version is expected.
 */
export async function hasVersion(
  em: EntityManager,
  entity: object,
  expectedVersion: number | null | undefined,
): Promise<boolean> {
  if (expectedVersion === null || expectedVersion === undefined) return true;
  try {
    await em.lock(entity, LockMode.OPTIMISTIC, expectedVersion);
    return true;
  } catch (error) {
    if (error instanceof OptimisticLockError) return false;
    throw error;
  }
}
