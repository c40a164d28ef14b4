import Contracts
import Registry
import Serving

/// Registered models: the list, one model with its versions, aliases and history, one version with its signature, evidence, card and where it serves.
func addModelPages(to pages: ConsoleRoutes) {
    pages.page("/models", .registryRead, on: .each) { asked in
        let order = TableOrder(asked.query)
        let keys = ["name": "name", "updated": "last_updated_timestamp"]
        guard let key = keys[order.key ?? "name"] else {
            throw KeelError.invalid(
                "the table cannot be sorted by '\(order.key?.prefix(40) ?? "")'", hint: "by name or updated", path: "sort")
        }
        let clauses = asked.query["q"].map { [SearchClause(.attribute, "name", .ilike, .text("%\($0)%"))] } ?? []
        let search = RegistrySearch(
            clauses: clauses, orders: [SearchOrder(.attribute, key, ascending: order.isAscending)], pageSize: try asked.query.limit(),
            pageToken: asked.query["after"])
        let page = try await asked.platform.registry.searchModels(search, asked.grant)
        let serving = ServingVersions(asked)
        let table = PageTable(
            "Models",
            [
                .init("Model", sort: "name"), .init("Latest version", isNumber: true), .init("Aliases"), .init("Serves"),
                .init("Updated", sort: "updated"),
            ],
            page.items.map { model in
                let latest = model.latest.map(\.version).max()
                return [
                    .text(model.name, path: ConsolePath.model(model.name)),
                    latest.map { .text(String($0), path: ConsolePath.version(model.name, String($0))) } ?? .number("–"),
                    .text(model.aliases.sorted { $0.alias < $1.alias }.map { "\($0.alias): \($0.version)" }.joined(separator: ", ")),
                    .text(serving.endpoints(of: model.name).joined(separator: ", ")), .time(model.updatedAt),
                ]
            }, next: page.nextToken, empty: "No model matches. Register one: mlflow.register_model(…), or a pipeline's step 'register'.")
        return Page("Models", in: .models, template: "models", ["table": table.view(asked.query), "q": asked.query["q"] ?? ""])
    }
    addModelPage(to: pages)
    addAliasForms(to: pages)
    addVersionPage(to: pages)
}

/// Which versions serve where now, of what the caller may see.
struct ServingVersions: Sendable {
    struct Place: Sendable {
        let endpoint: ResourceRef
        let release: Int
        let role: String
        let model: String
        let version: String
    }
    let places: [Place]

    init(_ asked: PageRequest) {
        var found: [Place] = []
        for status in asked.platform.runtime.status() where status.ref.workspace == asked.grant.workspace {
            guard asked.grant.caller.may(.releasesRead, on: status.ref) else { continue }
            for (role, release) in [("stable", status.stable), (status.phase, status.candidate)] {
                guard let release else { continue }
                found.append(
                    Place(endpoint: status.ref, release: release.release, role: role, model: release.model, version: release.modelVersion))
            }
        }
        places = found
    }

    func endpoints(of model: String) -> [String] {
        places.filter { $0.model == model }.map {
            "\($0.endpoint.qualifiedName) (\($0.version)\($0.role == "stable" ? "" : ", \($0.role)"))"
        }
    }

    func views(of model: String, version: String? = nil) -> [View] {
        places.filter { $0.model == model && (version == nil || $0.version == version) }.map { place in
            [
                "endpoint": place.endpoint.qualifiedName, "path": ConsolePath.endpoint(place.endpoint), "release": place.release,
                "releasePath": ConsolePath.release(place.endpoint, place.release), "role": place.role,
                "level": place.role == "stable" ? "ok" : "info",
                "version": place.version,
            ]
        }
    }
}

private func addModelPage(to pages: ConsoleRoutes) {
    pages.page("/models/:name", .registryRead, on: .model) { asked in
        let name = try asked.name()
        let registry = asked.platform.registry
        let model = try await registry.model(name: name, asked.grant)
        let search = RegistrySearch(
            clauses: [SearchClause(.attribute, "name", .equal, .text(name))],
            orders: [
                SearchOrder(
                    .attribute, "version_number", ascending: TableOrder(asked.query).key == "version" && TableOrder(asked.query).isAscending
                )
            ],
            pageSize: try asked.query.limit(), pageToken: asked.query["after"])
        let page = try await registry.searchVersions(search, asked.grant)
        let serving = ServingVersions(asked)
        let versions = PageTable(
            "Versions",
            [
                .init("Version", sort: "version"), .init("Aliases"), .init("Stage"), .init("Serves"), .init("Made by"), .init("Run"),
                .init("Created"),
            ],
            page.items.map { version in
                [
                    .text(String(version.version), path: ConsolePath.version(name, String(version.version))),
                    .text(version.aliases.sorted().joined(separator: ", ")),
                    .text(version.stage == .none ? "" : version.stage.rawValue),
                    .text(
                        serving.places.filter { $0.model == name && $0.version == String(version.version) }.map(\.endpoint.qualifiedName)
                            .joined(separator: ", ")),
                    .text(version.userID), .mono(version.runID ?? ""), .time(version.createdAt),
                ]
            }, next: page.nextToken, empty: "No version yet.")
        let history = try await registry.history(model: name, limit: 20, asked.grant).events
        let mayWrite = asked.grant(.registryWrite, on: "Model/\(name)") != nil
        return Page(
            name, in: .models, below: [.init("Models", "/console/models")], template: "model",
            [
                "name": Shown.text(name), "base": ConsolePath.model(name), "description": model.description.visible(keepingLines: true),
                "hasDescription": !model.description.isEmpty, "createdAt": Shown.time(model.createdAt),
                "updatedAt": Shown.time(model.updatedAt),
                "tags": model.tags.map { ["key": Shown.text($0.key), "value": Shown.text($0.value)] as View },
                "hasTags": !model.tags.isEmpty,
                "aliases": model.aliases.sorted { $0.alias < $1.alias }.map { alias in
                    [
                        "alias": alias.alias, "version": alias.version, "versionPath": ConsolePath.version(name, String(alias.version)),
                        "removePath": "\(ConsolePath.model(name))/aliases/\(percentEncoded(alias.alias))/remove",
                    ] as View
                }, "hasAliases": !model.aliases.isEmpty, "mayWrite": mayWrite, "versions": versions.view(asked.query),
                "serving": serving.views(of: name), "isServing": !serving.views(of: name).isEmpty,
                "history": LedgerRows.table("Changes, the newest first", history, in: asked.grant.workspace, without: .subject).view(
                    asked.query),
            ])
    }
}

/// Aliases are moved by what the page showed: somebody who moved one meanwhile is not overruled unseen.
private func addAliasForms(to pages: ConsoleRoutes) {
    pages.form("/models/:name/aliases", .registryWrite, on: .model) { asked, form in
        let name = try asked.name()
        let alias = try form.required("alias")
        guard let version = try form.number("version") else { throw KeelError.invalid("must be filled in", path: "version") }
        let model = try await asked.platform.registry.model(name: name, try asked.reading("Model/\(name)"))
        // The form for a new alias shows none that it would move.
        let expected: RegistryService.Expectation =
            if let seen = try form.number("expecting") { .version(seen) } else if form["move"] == "true" { .anything } else { .unset }
        try await asked.platform.registry.setAlias(model: model.name, alias: alias, version: version, expecting: expected, asked.grant)
        return ConsolePath.model(name)
    }
    pages.form("/models/:name/aliases/:alias/remove", .registryWrite, on: .model) { asked, _ in
        let name = try asked.name()
        try await asked.platform.registry.deleteAlias(model: name, alias: try asked.name("alias"), asked.grant)
        return ConsolePath.model(name)
    }
}

extension PageRequest {
    /// Whoever may write may not be one who may read.
    func reading(_ subject: String) throws(KeelError) -> Grant { try Grant.check(grant.caller, may: .registryRead, on: subject) }
}
