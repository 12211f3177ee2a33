/** Oldest supported version of Node. Same as `engines.node` in package.json. */
const OLDEST = { major: 22, minor: 18 };

/** Returns why the service cannot run on this version of Node; undefined when it can. */
export function nodeVersionProblem(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return undefined;
  return `Node ${version} is too old. notification-subgraph needs Node ${OLDEST.major}.${OLDEST.minor} or newer.`;
}
