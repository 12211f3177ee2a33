import { AppError } from '../errors.ts';
import type { Permission } from './permissions.ts';

/** Who is asking, in which tenant, and what they may do there. */
export interface Actor {
  tenantId: string;
  userId: string;
  permissions: ReadonlySet<string>;
  isSuperadmin: boolean;
  /** The tenant of their token; a superadmin may act in another, or have none. */
  homeTenantId: string | undefined;
  /** When the token that proved it was made; undefined where it does not say. */
  issuedAt: Date | undefined;
  /** When it runs out. */
  expiresAt: Date;
  /** Its own id (`jti`), where it has one. */
  tokenId: string | undefined;
}

/** True for a superadmin who looks into a tenant that is not theirs. */
export const isForeign = ({ tenantId, homeTenantId }: Actor): boolean => tenantId !== homeTenantId;

/** A superadmin holds every permission, in every tenant. */
export const mayDo = (actor: Actor, permission: Permission): boolean =>
  actor.isSuperadmin || actor.permissions.has(permission);

/** @throws `permission_denied`, naming what was required. */
export function requirePermission(actor: Actor, permission: Permission): void {
  if (mayDo(actor, permission)) return;
  throw new AppError('permission_denied', `This needs the permission ${permission}.`, {
    details: { required: permission },
  });
}
