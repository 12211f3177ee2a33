import { AppError } from '../errors.ts';
import type { Permission } from './permissions.ts';

/** The authenticated caller, the tenant of the request and the caller's permissions in it. */
export interface Actor {
  tenantId: string;
  userId: string;
  permissions: ReadonlySet<string>;
  isSuperadmin: boolean;
  /** Tenant of the token. Undefined or different from `tenantId` only for superadmins. */
  homeTenantId: string | undefined;
  /** Claim `iat` of the token. */
  issuedAt: Date | undefined;
  /** Claim `exp` of the token. */
  expiresAt: Date;
  /** Claim `jti` of the token. */
  tokenId: string | undefined;
}

/** Returns true for a superadmin who acts in another tenant. */
export const isForeign = ({ tenantId, homeTenantId }: Actor): boolean => tenantId !== homeTenantId;

/** Returns whether the actor has the permission. A superadmin has every permission in every tenant. */
export const mayDo = (actor: Actor, permission: Permission): boolean =>
  actor.isSuperadmin || actor.permissions.has(permission);

/** @throws `permission_denied` with the required permission. */
export function requirePermission(actor: Actor, permission: Permission): void {
  if (mayDo(actor, permission)) return;
  throw new AppError('permission_denied', `This needs the permission ${permission}.`, {
    details: { required: permission },
  });
}
