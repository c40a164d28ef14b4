import Contracts

/// A table of a page: its columns, a page of rows, and the addresses that sort it and show the next rows.
public struct PageTable {
    public struct Column: Sendable {
        /// Of the parameter `sort`; nil for a column that the table cannot be sorted by.
        public let key: String?
        public let title: String
        public let isNumber: Bool

        public init(_ title: String, sort key: String? = nil, isNumber: Bool = false) {
            self.key = key
            self.title = title
            self.isNumber = isNumber
        }
    }

    public enum Level: String, Sendable { case ok, warn, bad, info }

    public enum Cell: Sendable {
        /// A text from outside, with where it leads.
        case text(String, path: String? = nil)
        /// An identifier.
        case mono(String, path: String? = nil)
        case number(String)
        case badge(String, Level)
        case time(Timestamp?)

        var view: View {
            // Every name is there: what is missing is looked for in what is around the cell.
            var view: View = ["isNumber": false, "badge": false, "iso": false, "isMono": false, "path": false, "title": false, "text": ""]
            switch self {
            case .text(let text, let path), .mono(let text, let path):
                view.merge(Shown.text(text, path: path)) { $1 }
                if case .mono = self { view["isMono"] = true }
            case .number(let text):
                view["text"] = text
                view["isNumber"] = true
            case .badge(let text, let level):
                view["text"] = text.visible()
                view["badge"] = level.rawValue
            case .time(let time):
                guard let time = Shown.time(time) as? View else { return view }
                view.merge(time) { $1 }
            }
            return view
        }
    }

    /// What the table is of, for people who do not see it.
    public let caption: String
    public let columns: [Column]
    public let rows: [[Cell]]
    /// The parameter `after` of the next page; nil on the last.
    public let next: String?
    /// What stands in place of a table without rows: what would be here, and what to do next.
    public let emptyText: String

    public init(_ caption: String, _ columns: [Column], _ rows: [[Cell]], next: String? = nil, empty: String) {
        self.caption = caption
        self.columns = columns
        self.rows = rows
        self.next = next
        emptyText = empty
    }

    /// For the template `table`: `{{#name}}{{>table}}{{/name}}`.
    /// - Parameter query: of the page that it is on.
    public func view(_ query: PageQuery) -> View {
        let order = TableOrder(query)
        return [
            "caption": caption, "isEmpty": rows.isEmpty, "emptyText": emptyText, "rows": rows.map { ["cells": $0.map(\.view)] as View },
            "columns": columns.map { column in
                let isSorted = column.key != nil && column.key == order.key
                return [
                    "title": column.title, "isNumber": column.isNumber,
                    "sortPath": column.key.map { query.with(["sort": isSorted && order.isAscending ? "-" + $0 : $0, "after": nil]) }
                        ?? false,
                    "sorted": isSorted ? order.isAscending ? "ascending" : "descending" : false,
                ] as View
            }, "next": next.map { query.with(["after": $0]) } ?? false,
            "first": query["after"] == nil ? false : query.with(["after": nil]) as Any,
            "hasPages": next != nil || query["after"] != nil,
        ]
    }
}

/// By what a table is sorted: `sort=name`, or `sort=-name` from the last to the first.
public struct TableOrder: Sendable {
    /// Nil is the table's own order.
    public let key: String?
    public let isAscending: Bool

    public init(_ query: PageQuery) {
        let text = query["sort"]
        let isDescending = text?.hasPrefix("-") == true
        isAscending = !isDescending
        key = text.map { isDescending ? String($0.dropFirst()) : $0 }
    }
}

/// What the rows of a table in memory are sorted by.
public enum SortValue: Sendable, Comparable {
    case number(Double)
    case text(String)

    /// As it stands in the parameter `after`.
    var text: String {
        switch self {
        case .number(let value): "n\(value)"
        case .text(let value): "t\(value)"
        }
    }

    init?(text: some StringProtocol) {
        switch text.first {
        case "n":
            guard let value = Double(text.dropFirst()) else { return nil }
            self = .number(value)
        case "t": self = .text(String(text.dropFirst()))
        default: return nil
        }
    }

    public static func < (a: SortValue, b: SortValue) -> Bool {
        switch (a, b) {
        case (.number(let a), .number(let b)): a < b
        case (.text(let a), .text(let b)): byteOrder(a, b) < 0
        case (.number, .text): true
        case (.text, .number): false
        }
    }
}

/// Sorts and pages a list that is in memory. Pages go by key: one that goes on behind a row that is gone begins where the row was.
public struct TableSlice<Item> {
    public let items: [Item]
    public let next: String?

    /// - Parameters:
    ///   - sorts: what each sortable column is sorted by; `standard` is the one that is taken when the address names none.
    ///   - id: tells items with the same value apart.
    /// - Throws: `invalidArgument` for an order that the table has not, and for a place that is none.
    public init(
        _ all: [Item], _ query: PageQuery, limit: Int, standard: String, sorts: [String: @Sendable (Item) -> SortValue], id: (Item) -> String
    ) throws(KeelError) {
        let order = TableOrder(query)
        let key = order.key ?? standard
        let isAscending = order.key == nil ? !standard.hasPrefix("-") : order.isAscending
        guard let value = sorts[key.hasPrefix("-") ? String(key.dropFirst()) : key] else {
            throw .invalid(
                "the table cannot be sorted by '\(key.prefix(40))'", hint: "by one of: \(sorts.keys.sorted().joined(separator: ", "))",
                path: "sort")
        }
        func precedes(_ a: (SortValue, String), _ b: (SortValue, String)) -> Bool {
            if a.0 != b.0 { return isAscending ? a.0 < b.0 : b.0 < a.0 }
            return byteOrder(a.1, b.1) < 0
        }
        var keyed = all.map { (key: (value($0), id($0)), item: $0) }
        keyed.sort { precedes($0.key, $1.key) }
        if let after = query["after"] {
            let parts = after.split(separator: "\u{1f}", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let sorted = SortValue(text: parts[0]) else {
                throw .invalid("is not a place in this table", hint: "begin with its first page", path: "after")
            }
            keyed.removeAll { !precedes((sorted, String(parts[1])), $0.key) }
        }
        let page = keyed.prefix(limit)
        items = page.map(\.item)
        next = keyed.count > limit ? page.last.map { "\($0.key.0.text)\u{1f}\($0.key.1)" } : nil
    }
}
