import Configuration
import Contracts
import OpenIDConnect

/// The identity providers in the settings: a group of settings for each, under its name.
extension KeelConfiguration {
    static let issuersPath = ["oidc", "issuers"]
    private static let issuersMax = 32
    private static let variablePrefix = "KEEL_OIDC_"
    private static let issuerVariablePrefix = variablePrefix + "ISSUERS_"

    /// A setting by its name; what is set for one issuer is described once for all.
    static func setting(_ key: String) -> (key: String, standard: ConfigContent)? {
        settings.first { $0.key == general(key) }
    }

    /// The name with which the settings of any issuer are described: `oidc.issuers.NAME.url`.
    private static func general(_ key: String) -> String {
        var parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, parts.starts(with: issuersPath), !parts[2].isEmpty else { return key }
        parts[2] = "NAME"
        return parts.joined(separator: ".")
    }

    /// - Parameter filed: the names of the settings in the file.
    static func issuers(_ reader: SettingReader, filed: [[String]], _ environment: [String: String]) throws(KeelError) -> [OpenIDIssuer] {
        var names: [String] = []
        for path in filed.sorted(by: { $0.lexicographicallyPrecedes($1) }) where path.count == 4 && path.starts(with: issuersPath) {
            if !names.contains(path[2]) { names.append(path[2]) }
        }
        // A variable names the issuer of the file that it fits; otherwise it makes one.
        for name in try namesOfVariables(environment) where !names.contains(where: { variable($0) == variable(name) }) {
            names.append(name)
        }
        guard names.count <= issuersMax else { throw .invalid("there are more than \(issuersMax) issuers", path: "oidc.issuers") }
        var issuers: [OpenIDIssuer] = []
        for name in names {
            let place = "oidc.issuers.\(name)"
            let issuer: OpenIDIssuer
            do throws(KeelError) { issuer = try self.issuer(name, place, reader) } catch { throw error.at(place) }
            if let other = issuers.first(where: { variable($0.name) == variable(name) }) {
                throw .invalid(
                    "'\(name)' and '\(other.name)' are too alike", hint: "their variables would have the same names", path: place)
            }
            if let other = issuers.first(where: { $0.url == issuer.url }) {
                throw .invalid("it is the URL of '\(other.name)' too", path: "\(place).url")
            }
            issuers.append(issuer)
        }
        return issuers
    }

    private static func issuer(_ name: String, _ place: String, _ reader: SettingReader) throws(KeelError) -> OpenIDIssuer {
        var algorithms: Set<SignatureAlgorithm> = []
        for text in reader.strings("\(place).algorithms") {
            guard let algorithm = SignatureAlgorithm(rawValue: text) else {
                let known = SignatureAlgorithm.allCases.map(\.rawValue)
                throw .invalid(
                    "'\(text.prefix(40))' is not an algorithm that tokens may be signed with",
                    hint: "one of \(known.joined(separator: ", "))",
                    path: "algorithms")
            }
            algorithms.insert(algorithm)
        }
        return try OpenIDIssuer(
            name: name, url: reader.string("\(place).url"), audiences: reader.strings("\(place).audience"),
            groupsClaim: reader.string("\(place).groups"), skew: try span(reader.string("\(place).skew"), "skew"),
            groupsAge: try span(reader.string("\(place).age"), "age"),
            workspace: try WorkspaceID(reader.string("\(place).workspace"), path: "workspace"), algorithms: algorithms,
            schemes: reader.strings("oidc.schemes"))
    }

    private static func span(_ text: String, _ field: String) throws(KeelError) -> TimeSpan {
        guard let span = TimeSpan(text) else { throw .invalid("'\(text.prefix(40))' is not a length of time, such as 1m", path: field) }
        return span
    }

    /// The part of a variable's name that stands for an issuer.
    private static func variable(_ name: String) -> String { name.uppercased().replacing("-", with: "_") }

    /// The issuers that variables name: `KEEL_OIDC_ISSUERS_PEOPLE_URL` is of `people`.
    /// - Throws: `invalidArgument` for a variable about OpenID Connect that is no setting.
    private static func namesOfVariables(_ environment: [String: String]) throws(KeelError) -> [String] {
        let fields = settings.compactMap { $0.key.hasPrefix("oidc.issuers.") ? $0.key.split(separator: ".").last?.uppercased() : nil }
        var names: [String] = []
        for key in environment.keys.sorted() where key.hasPrefix(variablePrefix) {
            if key == variablePrefix + "SCHEMES" || key == variablePrefix + "INTERNAL" { continue }
            guard key.hasPrefix(issuerVariablePrefix), let field = fields.first(where: { key.hasSuffix("_" + $0) }),
                key.utf8.count > issuerVariablePrefix.utf8.count + field.utf8.count + 1
            else {
                throw .invalid(
                    "unknown setting", hint: "\(issuerVariablePrefix)NAME_ and one of \(fields.joined(separator: ", "))", path: key)
            }
            let name = key.dropFirst(issuerVariablePrefix.count).dropLast(field.count + 1).lowercased()
            if !names.contains(name) { names.append(name) }
        }
        return names
    }
}
