/**
 * A CRD as a template of the Helm chart: with the release it is installed and upgraded (what lies in a chart's folder `crds` never is),
 * and it stays when the release goes, since every run would go with it.
 */
export function crdTemplate(path: string, definition: string): string {
  const named = /^metadata:\n {2}name: (\S+)\n/m;
  if (!named.test(definition)) throw new Error(`${path} does not begin its metadata with its name`);
  const kept = definition
    // A comment of the file, and what the file says in the template's own language.
    .replaceAll('{{', '{{ "{{" }}')
    .replace(named, (found) => `${found}  annotations:\n    helm.sh/resource-policy: keep\n`);
  return `{{- /* Generated from ${path} by scripts/generate.ts. Do not edit. */}}\n{{- if .Values.crds.install }}\n${kept.trimEnd()}\n{{- end }}\n`;
}
