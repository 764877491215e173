/** The style sheet of the HTML report: light and dark, printable, no font, image or script from anywhere. */
export const style = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --paper: #ffffff; --band: #f6f8fa;
  --passed: #116329; --passed-back: #dafbe1; --failed: #a40e26; --failed-back: #ffebe9; --cancelled: #7d4e00; --cancelled-back: #fff8c5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --paper: #0d1117; --band: #161b22;
  --passed: #56d364; --passed-back: #0f2d1a; --failed: #ff8e86; --failed-back: #3c1618; --cancelled: #e3b341; --cancelled-back: #332701; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
p { margin: .4rem 0; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; font-size: .88em; overflow-wrap: anywhere; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; overflow-x: auto; }
header { border-left: .5rem solid var(--edge); background: var(--back); border-radius: 6px; padding: 1.1rem 1.4rem; }
header .verdict { font-size: 1.9rem; font-weight: 700; line-height: 1.2; color: var(--edge); margin: .1rem 0 .2rem; }
header .headline { font-size: 1.05rem; }
.Passed { --edge: var(--passed); --back: var(--passed-back); }
.Failed, .Errored { --edge: var(--failed); --back: var(--failed-back); }
.Cancelled { --edge: var(--cancelled); --back: var(--cancelled-back); }
.soft { color: var(--soft); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0 0; padding: 0; }
.numbers div { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .9rem; }
.numbers dt { color: var(--soft); font-size: .85rem; }
.numbers dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-size: .82rem; color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.zero { color: var(--soft); }
td.hot { color: var(--failed); font-weight: 600; }
.tag { display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .82rem; font-weight: 600; white-space: nowrap;
  color: var(--edge); background: var(--back); }
.Equal, .Tolerated { --edge: var(--passed); --back: var(--passed-back); }
.Different { --edge: var(--failed); --back: var(--failed-back); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: 0 1rem; }
details[open] { padding-bottom: 1rem; }
summary { cursor: pointer; padding: .6rem 0; font-weight: 600; overflow-wrap: anywhere; }
summary .soft { font-weight: 400; }
summary:focus-visible, a:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; border-radius: 3px; }
a { color: inherit; }
ul { margin: .3rem 0; padding-left: 1.25rem; }
li { margin: .25rem 0; }
.error { border-left: .3rem solid var(--failed); padding: .2rem 0 .2rem 1rem; margin: .8rem 0; }
.from { color: var(--soft); }
.skip { position: absolute; left: -9999px; }
.skip:focus { position: static; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft); font-size: .9rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } details { break-inside: avoid; border: 0; padding: 0; }
  details::details-content { content-visibility: visible; height: auto; } .scroll { overflow: visible; } header { border: 1px solid; border-left-width: .5rem; } }
`;
