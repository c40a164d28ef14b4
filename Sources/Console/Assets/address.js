// MLflow's client prints addresses of MLflow's own page, whose part behind # never reaches the server: this opens the console's page of the same thing.

const shapes = [
  [/^\/experiments\/([^/]+)\/runs\/([^/]+)/, (found) => `/console/runs/${found[2]}`],
  [/^\/experiments\/([^/]+)/, (found) => `/console/experiments/${found[1]}`],
  [/^\/models\/([^/]+)\/versions\/([^/]+)/, (found) => `/console/models/${found[1]}/versions/${found[2]}`],
  [/^\/models\/([^/]+)/, (found) => `/console/models/${found[1]}`],
  [/^\/models/, () => "/console/models"],
  [/^\/experiments/, () => "/console/experiments"],
];

export function address(fragment) {
  const path = fragment.replace(/^#/, "").split("?")[0];
  for (const [shape, page] of shapes) {
    const found = path.match(shape);
    if (found) return page(found);
  }
  return "/console";
}

location.replace(address(location.hash));
