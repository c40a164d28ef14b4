/// One of the things that keep programs apart from the server and from each other, and whether it holds on this machine.
public struct ProgramProtection: Sendable, Hashable {
    public let name: String
    public let holds: Bool
    /// What the program has of it, for people.
    public let text: String

    init(_ name: String, _ holds: Bool, _ text: String) {
        self.name = name
        self.holds = holds
        self.text = text
    }
}
