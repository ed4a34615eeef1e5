// For the modules of the page, from the root: eslint --config tests/browser/eslint.config.mjs
const browser = ["document", "Node", "globalThis", "atob", "setTimeout", "clearTimeout",
  "Blob", "URL"];
const rules = {
  "constructor-super": "error", "eqeqeq": "error", "no-const-assign": "error",
  "no-dupe-args": "error", "no-dupe-keys": "error", "no-empty": "error", "no-eval": "error",
  "no-fallthrough": "error", "no-implied-eval": "error", "no-redeclare": "error",
  "no-self-assign": "error", "no-shadow": "error", "no-this-before-super": "error",
  "no-undef": "error", "no-unreachable": "error", "no-unused-vars": "error", "no-var": "error",
  "no-with": "error", "prefer-const": "error", "use-isnan": "error", "valid-typeof": "error",
};

export default [{
  files: ["**/*.mjs"],
  languageOptions: {
    ecmaVersion: 2022,
    sourceType: "module",
    globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
  },
  linterOptions: { reportUnusedDisableDirectives: "error" },
  rules: { ...rules, "max-len": ["error", { code: 100 }] },
}];
