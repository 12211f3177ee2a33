import { lookup as resolve } from 'node:dns';
import { BlockList, connect, isIP, type LookupFunction, type Socket } from 'node:net';

/**
 * The host is not public. The message does not contain its address, so that a tenant cannot explore private networks.
 */
export class OutboundForbidden extends Error {
  readonly code = 'EFORBIDDEN';

  constructor() {
    super('the host is not public');
    this.name = 'OutboundForbidden';
  }
}

/** Decides which addresses may be connected to. */
export interface OutboundGuard {
  /** Resolves a name to its allowed addresses. Fails with {@link OutboundForbidden} when there are none. */
  lookup: LookupFunction;
  /** Checks a host given as an IP address, for which `lookup` is not called. @throws {OutboundForbidden} */
  checkLiteral(host: string): void;
  /** Opens a TCP connection if the address is allowed. */
  connect(host: string, port: number, timeoutMs: number): Promise<Socket>;
}

/** IPv4 ranges that are not public (IANA IPv4 Special-Purpose Address Registry). */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];
/** In IPv6 only global unicast is public, except ranges that embed an IPv4 address or are reserved. */
const GLOBAL_V6 = ['2000::/3'];
const SPECIAL_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const special = ranges([...SPECIAL_V4, ...SPECIAL_V6]);
const globalV6 = ranges(GLOBAL_V6);

const isPublic = (address: string): boolean =>
  isIP(address) === 4
    ? !special.check(address, 'ipv4')
    : globalV6.check(address, 'ipv6') && !special.check(address, 'ipv6');

/**
 * Blocks connections of tenants to loopback, link-local, private and metadata networks. Checks the address at the time
 * of the connection, so that DNS rebinding has no effect.
 *
 * @param allow hosts, IP addresses and CIDR ranges that are allowed although they are not public.
 */
export function createOutboundGuard(allow: readonly string[]): OutboundGuard {
  const hosts = new Set(allow.filter((entry) => !isRange(entry)).map((entry) => entry.toLowerCase()));
  const allowed = ranges(allow.filter(isRange));
  const mayReach = (address: string): boolean =>
    isPublic(address) || allowed.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');

  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '');
      const reachable = hosts.has(hostname.toLowerCase())
        ? addresses
        : addresses.filter(({ address }) => mayReach(address));
      const [first] = reachable;
      if (!first) return callback(new OutboundForbidden(), '');
      return options.all ? callback(null, reachable) : callback(null, first.address, first.family);
    });
  };
  return withConnect({
    lookup,
    checkLiteral: (host) => {
      if (isIP(host) && !mayReach(host)) throw new OutboundForbidden();
    },
  });
}

/** Allows every address; for hosts that the operator configured. */
export const openGuard: OutboundGuard = withConnect({
  lookup: (hostname, options, callback) => resolve(hostname, options, callback as never),
  checkLiteral: () => {},
});

function withConnect(guard: Omit<OutboundGuard, 'connect'>): OutboundGuard {
  return {
    ...guard,
    connect: (host, port, timeoutMs) =>
      new Promise((resolveSocket, reject) => {
        guard.checkLiteral(host);
        const socket = connect({ host, port, lookup: guard.lookup, timeout: timeoutMs });
        socket.once('error', reject);
        socket.once('timeout', () => {
          socket.destroy();
          reject(Object.assign(new Error('connect timed out'), { code: 'ETIMEDOUT' }));
        });
        socket.once('connect', () => {
          socket.setTimeout(0);
          socket.removeAllListeners('timeout').off('error', reject);
          // Keeps an error from crashing the process before the caller has added its own listener.
          socket.on('error', () => {});
          resolveSocket(socket);
        });
      }),
  };
}

function isRange(entry: string): boolean {
  const [address = '', bits] = entry.split('/');
  return isIP(address) !== 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
}

function ranges(entries: string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  return list;
}
