const KEY = 'notification-subgraph:token';

/** Returns the token of this tab. sessionStorage is private to the tab and deleted with it. */
export const loadToken = (): string => sessionStorage.getItem(KEY) ?? '';

/** Stores a token without a leading `Bearer` and white space. @returns the stored token. */
export function saveToken(pasted: string): string {
  const token = pasted.trim().replace(/^bearer\s+/i, '');
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
  return token;
}

/** Removes `#token=…` from the address bar. @returns the token; undefined when there is none. */
export function takeTokenFromAddress(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return undefined;
  history.replaceState(history.state, '', location.pathname + location.search);
  return saveToken(token);
}

/** Describes the token for display next to the field. Does not verify it. */
export function describeToken(token: string): { text: string; expired: boolean } | undefined {
  if (!token) return undefined;
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (character) => character.codePointAt(0) ?? 0);
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    const end = typeof claims['exp'] === 'number' ? new Date(claims['exp'] * 1000) : undefined;
    const expired = end !== undefined && end.getTime() <= Date.now();
    const time = end?.toLocaleString([], { dateStyle: 'short', timeStyle: 'short' });
    const parts = [claims['sub'], claims['tenant_id'], time && `${expired ? 'expired' : 'until'} ${time}`];
    return { text: parts.filter(Boolean).join(' · '), expired };
  } catch {
    return { text: 'This does not look like a JWT', expired: true };
  }
}
