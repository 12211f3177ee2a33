const KEY = 'notification-subgraph:token';

/** The token of this browser tab. sessionStorage, so that it ends with the tab and no other tab sees it. */
export const loadToken = (): string => sessionStorage.getItem(KEY) ?? '';

/** Keeps what was pasted, without a leading `Bearer` or white space, and returns what was kept. */
export function saveToken(pasted: string): string {
  const token = pasted.trim().replace(/^bearer\s+/i, '');
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
  return token;
}

/** Moves a token handed over as `#token=…` out of the address bar; `undefined` when there is none. */
export function takeTokenFromAddress(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return undefined;
  history.replaceState(history.state, '', location.pathname + location.search);
  return saveToken(token);
}

/** Who the token speaks for, to show beside the field. Nothing is verified here: that is the service's part. */
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
