import type { EventParser } from './event.ts';
import { checkedTime, eventValidator } from './validate.ts';

interface TokenRevoked {
  tenant_id: string;
  user_id?: string;
  token_id?: string;
  at: string;
}

/** Parses the revocation of one token, or of all tokens of a user or tenant. */
export function tokenRevoked(type: string): EventParser {
  const validate = eventValidator<TokenRevoked>(type);
  return ({ payload }) => {
    const { tenant_id: tenantId, user_id: userId, token_id: tokenId, at } = validate(payload);
    const revocation = { tenantId, userId: userId ?? null, tokenId: tokenId ?? null, revokedAt: checkedTime(at) };
    return { kind: 'token-revoked', tenantId, revocation };
  };
}
