// Types of the parts of MJML that we use. MJML ships without types.

declare module 'mjml-core' {
  type Components = Record<string, unknown>;
  export const components: Components;
  export function assignComponents(target: Components, source: Components): void;
  // CommonJS: the default import is `module.exports`.
  const mjml: {
    default: (
      mjml: string,
      options: { validationLevel: 'soft'; fonts: Record<string, string>; ignoreIncludes: boolean },
    ) => Promise<{ html: string; errors: { line: number; message: string; tagName: string }[] }>;
  };
  export default mjml;
}

declare module 'mjml-preset-core' {
  const preset: { components: Record<string, unknown>; dependencies: Record<string, unknown> };
  export default preset;
}

declare module 'mjml-validator' {
  export const dependencies: Record<string, unknown>;
  export function assignDependencies(target: Record<string, unknown>, source: Record<string, unknown>): void;
}
