import Contracts

/// A part of the console in its navigation.
public struct ConsoleSection: Sendable, Hashable {
    public let title: String
    public let path: String
    /// What a caller must be allowed, at least for some things, to find it in the navigation; nil for every caller.
    let action: Action?

    static let home = ConsoleSection(title: "Home", path: "/console", action: nil)
    static let endpoints = ConsoleSection(title: "Endpoints", path: "/console/endpoints", action: .releasesRead)
    static let models = ConsoleSection(title: "Models", path: "/console/models", action: .registryRead)
    static let ledger = ConsoleSection(title: "Ledger", path: "/console/ledger", action: .ledgerRead)

    /// In the order of the navigation.
    static let all: [ConsoleSection] = [
        home,
        endpoints,
        models,
        experiments,
        pipelines,
        datasets,
        monitors,
        lineage,
        ledger,
    ]
}

/// A page as its handler makes it: what the template shows, and what the frame around it needs to know.
public struct Page {
    public struct Link: Sendable, Hashable {
        public let title: String
        public let path: String
        public init(_ title: String, _ path: String) {
            self.title = title
            self.path = path
        }
    }

    public var title: String
    public var section: ConsoleSection?
    /// From the section down to what is above this page.
    public var breadcrumbs: [Link]
    public var template: String
    public var view: View
    /// Sources besides the server's own in its Content-Security-Policy, such as `frame-src 'self'`.
    public var policy: [String]

    public init(
        _ title: String, in section: ConsoleSection?, below breadcrumbs: [Link] = [], template: String, _ view: View, policy: [String] = []
    ) {
        self.title = title
        self.section = section
        self.breadcrumbs = breadcrumbs
        self.template = template
        self.view = view
        self.policy = policy
    }
}

/// Texts and instants as pages show them.
public enum Shown {
    private static let charactersMax = 80

    /// A text from outside: cut for display, with the whole of up to 1000 characters as its title.
    public static func text(_ text: String, path: String? = nil) -> View {
        let visible = text.visible()
        let isCut = visible.count > charactersMax
        return [
            "text": isCut ? String(visible.prefix(charactersMax - 1)) + "…" : visible,
            "title": isCut ? String(visible.prefix(1000)) : false,
            "path": path ?? false,
        ]
    }

    /// An instant: `2024-05-01 10:00:00 UTC`, made relative in the browser.
    public static func time(_ time: Timestamp?) -> Any {
        guard let time else { return false }
        let iso = time.description
        let text = iso.prefix(19).map { $0 == "T" ? " " : $0 }
        return ["iso": iso, "text": String(text) + " UTC"] as View
    }

    /// A duration of a request: `430 µs`, `12.5 ms`, `1.20 s`.
    public static func duration(seconds: Double?) -> String {
        guard let seconds, seconds.isFinite else { return "–" }
        if seconds < 0.001 { return "\(Int(saturating: (seconds * 1e6).rounded())) µs" }
        if seconds < 1 { return "\((seconds * 1e3).decimals(1)) ms" }
        return "\(seconds.decimals(2)) s"
    }

    /// A number of up to six significant digits.
    public static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value > 0 ? "∞" : "−∞" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(exactly: value) ?? 0) }
        let size = abs(value)
        return value.decimals(size >= 1000 ? 1 : size >= 1 ? 3 : size >= 0.001 ? 5 : 8)
    }

    /// Thousands apart: `12 345`.
    public static func count(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var out = ""
        for (i, digit) in digits.enumerated() {
            if i > 0, (digits.count - i) % 3 == 0 { out.append("\u{202f}") }
            out.append(digit)
        }
        return value < 0 ? "−" + out : out
    }
}

/// A component of an address, escaped.
public func pathComponent(_ text: String) -> String { percentEncoded(text) }

/// Everything but letters, digits and `-._~` as percent escapes.
func percentEncoded(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95, 126: out.append(byte)
        default:
            let digits = Array("0123456789ABCDEF".utf8)
            out += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: out, as: UTF8.self)
}
